import { AV_LOG_QUIET, type AVPixelFormat, SWS_BILINEAR } from 'node-av/constants';
import { FFmpegError, Frame, Log, SoftwareScaleContext } from 'node-av/lib';

// Not part of the package's main export, which loads no FFmpeg.

// FFmpeg logs something about every picture: that is kept out of our log.
Log.setLevel(AV_LOG_QUIET);

/** Pixels. */
export interface Size {
  width: number;
  height: number;
}

/** Scales decoded pictures, of any size and format, into one pixel format. */
export class Scaler implements Disposable {
  readonly #format: AVPixelFormat;
  readonly #scaled = new Frame();
  #context: SoftwareScaleContext | undefined;
  #scales = '';

  constructor(format: AVPixelFormat) {
    this.#format = format;
    this.#scaled.alloc();
  }

  /** @returns the picture in this size; valid until the next call. @throws FFmpegError */
  async scale(picture: Frame, { width, height }: Size): Promise<Frame> {
    const [from, format] = [picture.format as AVPixelFormat, this.#format];
    const scales = `${picture.width}x${picture.height} ${from} ${width}x${height}`;
    if (!this.#context || scales !== this.#scales) {
      this.#context?.freeContext();
      this.#context = new SoftwareScaleContext();
      this.#context.getContext(picture.width, picture.height, from, width, height, format, SWS_BILINEAR);
      this.#scales = scales;
    }
    // A new buffer: the encoder may still use the former picture's.
    this.#scaled.unref();
    Object.assign(this.#scaled, { width, height, format });
    FFmpegError.throwIfError(this.#scaled.getBuffer(), 'allocate a picture');
    FFmpegError.throwIfError(await this.#context.scaleFrame(this.#scaled, picture), 'scale a picture');
    return this.#scaled;
  }

  [Symbol.dispose](): void {
    this.#context?.freeContext();
    this.#scaled.free();
  }
}
