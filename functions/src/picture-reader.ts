import { type PictureError, readPictureHeader } from '@video-pipeline/picture';
import { Scaler, type Size } from '@video-pipeline/storage/scaler';
import { AV_CODEC_ID_MJPEG, AV_PIX_FMT_YUV420P } from 'node-av/constants';
import { Codec, CodecContext, FFmpegError, Frame, Packet } from 'node-av/lib';

/** A picture that can't be encoded as video. A retry would fail too. */
export class ClipEncodingError extends Error {
  override readonly name = 'ClipEncodingError';
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
  readonly #scaler = new Scaler(AV_PIX_FMT_YUV420P);
  readonly #maxPixels: number;

  constructor(maxPixels: number) {
    this.#maxPixels = maxPixels;
    const codec = Codec.findDecoder(AV_CODEC_ID_MJPEG);
    if (!codec) throw new Error('this build of FFmpeg has no JPEG decoder');
    this.#decoder.allocContext3(codec);
    this.#decoder.threadCount = 1;
    FFmpegError.throwIfError(this.#decoder.open2Sync(codec), 'open the JPEG decoder');
    for (const one of [this.#packet, this.#decoded]) one.alloc();
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
  async read(jpeg: Buffer, size: Size): Promise<Frame> {
    return this.#scaler.scale(await this.decode(jpeg), size);
  }

  [Symbol.dispose](): void {
    this.#scaler[Symbol.dispose]();
    for (const one of [this.#packet, this.#decoded]) one.free();
    this.#decoder.freeContext();
  }
}
