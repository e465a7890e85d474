import { type PictureError, readPictureHeader } from '@video-pipeline/picture';
import {
  AV_CODEC_ID_MJPEG,
  AV_LOG_QUIET,
  AV_PIX_FMT_YUV420P,
  type AVPixelFormat,
  SWS_BILINEAR,
} from 'node-av/constants';
import { Codec, CodecContext, FFmpegError, Frame, Log, Packet, SoftwareScaleContext } from 'node-av/lib';

// FFmpeg writes lines of its own for each picture: they are not part of this log.
Log.setLevel(AV_LOG_QUIET);

/** A picture that can't be encoded as video. A retry would fail too. */
export class ClipEncodingError extends Error {
  override readonly name = 'ClipEncodingError';
}

/** Pixels. */
export interface Size {
  width: number;
  height: number;
}

/** @throws ClipEncodingError when the picture is no JPEG, or so large that decoding would take long */
function refuseCostly(jpeg: Buffer, maxPixels: number): void {
  try {
    readPictureHeader(jpeg, { maxPixels });
  } catch (cause) {
    throw new ClipEncodingError(`a frame is no JPEG: ${(cause as PictureError).message}`, { cause });
  }
}

/** Decodes JPEGs, one after another, into the encoder's format. */
export class PictureReader implements Disposable {
  readonly #decoder = new CodecContext();
  readonly #packet = new Packet();
  readonly #decoded = new Frame();
  readonly #scaled = new Frame();
  #scaler: SoftwareScaleContext | undefined;
  #scales = '';
  readonly #maxPixels: number;

  constructor(maxPixels: number) {
    this.#maxPixels = maxPixels;
    const codec = Codec.findDecoder(AV_CODEC_ID_MJPEG);
    if (!codec) throw new Error('this build of FFmpeg has no JPEG decoder');
    this.#decoder.allocContext3(codec);
    this.#decoder.threadCount = 1;
    FFmpegError.throwIfError(this.#decoder.open2Sync(codec), 'open the JPEG decoder');
    for (const one of [this.#packet, this.#decoded, this.#scaled]) one.alloc();
  }

  /** @returns the picture in its own format and size; it is valid until the next call. @throws ClipEncodingError */
  async decode(jpeg: Buffer): Promise<Frame> {
    refuseCostly(jpeg, this.#maxPixels);
    this.#packet.unref();
    this.#packet.data = jpeg;
    let code = await this.#decoder.sendPacket(this.#packet);
    if (code >= 0) code = await this.#decoder.receiveFrame(this.#decoded);
    if (code < 0) throw new ClipEncodingError(`a frame is no JPEG: ${FFmpegError.strerror(code)}`);
    return this.#decoded;
  }

  /** @returns the picture scaled, in 4:2:0, limited range; valid until the next call. @throws ClipEncodingError */
  async read(jpeg: Buffer, { width, height }: Size): Promise<Frame> {
    const picture = await this.decode(jpeg);
    const scales = `${picture.width}x${picture.height} ${picture.format}`;
    if (scales !== this.#scales) {
      this.#scaler?.freeContext();
      this.#scaler = new SoftwareScaleContext();
      const format = picture.format as AVPixelFormat;
      this.#scaler.getContext(
        picture.width,
        picture.height,
        format,
        width,
        height,
        AV_PIX_FMT_YUV420P,
        SWS_BILINEAR,
      );
      this.#scales = scales;
    }
    // A new buffer: the encoder may still use the former picture's.
    this.#scaled.unref();
    Object.assign(this.#scaled, { width, height, format: AV_PIX_FMT_YUV420P });
    FFmpegError.throwIfError(this.#scaled.getBuffer(), 'allocate a picture');
    FFmpegError.throwIfError((await this.#scaler?.scaleFrame(this.#scaled, picture)) ?? 0, 'scale a picture');
    return this.#scaled;
  }

  [Symbol.dispose](): void {
    this.#scaler?.freeContext();
    for (const one of [this.#packet, this.#decoded, this.#scaled]) one.free();
    this.#decoder.freeContext();
  }
}
