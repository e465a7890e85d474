import { AV_LOG_QUIET, type AVPixelFormat, SWS_BILINEAR } from 'node-av/constants';
import { FFmpegError, Frame, Log, SoftwareScaleContext } from 'node-av/lib';

// Not part of the package's main export, which loads no FFmpeg.

// Otherwise FFmpeg would write lines about every picture into our log.
Log.setLevel(AV_LOG_QUIET);

/** Pixels. */
export interface Size {
  width: number;
  height: number;
}

/**
 * Scales decoded pictures, of any size and format, into one pixel format.
 * @example
 * const small = await scalerTo(AV_PIX_FMT_RGB24).scale(frame, { width: 640, height: 360 });
 */
export function scalerTo(format: AVPixelFormat) {
  const scaled = new Frame();
  scaled.alloc();
  let context: SoftwareScaleContext | undefined;
  let scales = '';
  return {
    /** @returns the picture in this size; valid until the next call. @throws FFmpegError */
    async scale(picture: Frame, { width, height }: Size): Promise<Frame> {
      const from = picture.format as AVPixelFormat;
      const wanted = `${picture.width}x${picture.height} ${from} ${width}x${height}`;
      if (!context || wanted !== scales) {
        context?.freeContext();
        context = new SoftwareScaleContext();
        context.getContext(picture.width, picture.height, from, width, height, format, SWS_BILINEAR);
        scales = wanted;
      }
      // A new buffer: the encoder may still use the former picture's.
      scaled.unref();
      Object.assign(scaled, { width, height, format });
      FFmpegError.throwIfError(scaled.getBuffer(), 'allocate a picture');
      FFmpegError.throwIfError(await context.scaleFrame(scaled, picture), 'scale a picture');
      return scaled;
    },
    [Symbol.dispose](): void {
      context?.freeContext();
      scaled.free();
    },
  };
}
