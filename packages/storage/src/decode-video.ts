import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AV_CODEC_FLAG_QSCALE,
  AV_CODEC_ID_MJPEG,
  AV_LOG_QUIET,
  AV_PIX_FMT_YUVJ420P,
  type AVPixelFormat,
  FF_QP2LAMBDA,
  SWS_BILINEAR,
} from 'node-av/constants';
import {
  Codec,
  CodecContext,
  FFmpegError,
  FormatContext,
  Frame,
  Log,
  Packet,
  Rational,
  SoftwareScaleContext,
} from 'node-av/lib';

// FFmpeg logs something about every picture: that is kept out of our log.
Log.setLevel(AV_LOG_QUIET);

/** Quantizer of FFmpeg's JPEG encoder, from 1, the best, to 31. It is close to libjpeg's quality 90. */
const QUANTIZER = 3;

interface Size {
  width: number;
  height: number;
}

/**
 * All pictures of a video as JPEGs of this size, pixels, in display order.
 * @throws FFmpegError
 */
export async function decodeVideo(video: Buffer, size: Size): Promise<Buffer[]> {
  // FFmpeg reads a file on its own threads.
  const folder = await mkdtemp(join(tmpdir(), 'segment-'));
  try {
    const path = join(folder, 'segment.mp4');
    await writeFile(path, video);
    return await decodeFile(path, size);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function decodeFile(path: string, size: Size): Promise<Buffer[]> {
  await using input = new FormatContext();
  FFmpegError.throwIfError(await input.openInput(path), 'open the video');
  FFmpegError.throwIfError(await input.findStreamInfo(), 'read the video');
  const [stream] = input.streams;
  const codec = stream && Codec.findDecoder(stream.codecpar.codecId);
  if (!codec) throw new Error('there is no video in it that can be decoded');
  using decoder = new CodecContext();
  decoder.allocContext3(codec);
  FFmpegError.throwIfError(decoder.parametersToContext(stream.codecpar), 'open the decoder');
  decoder.threadCount = 1;
  FFmpegError.throwIfError(await decoder.open2(codec), 'open the decoder');
  using jpegs = new JpegWriter(size);
  using packet = new Packet();
  using picture = new Frame();
  packet.alloc();
  picture.alloc();
  const all: Buffer[] = [];
  const drain = async () => {
    while ((await decoder.receiveFrame(picture)) >= 0) all.push(await jpegs.encode(picture));
  };
  while ((await input.readFrame(packet)) >= 0) {
    FFmpegError.throwIfError(await decoder.sendPacket(packet), 'decode');
    await drain();
    packet.unref();
  }
  await decoder.sendPacket(null);
  await drain();
  return all;
}

/** Makes JPEGs of one size. All pictures must have one size and pixel format. */
class JpegWriter implements Disposable {
  readonly #encoder = new CodecContext();
  readonly #packet = new Packet();
  readonly #scaled = new Frame();
  readonly #size: Size;
  #scaler: SoftwareScaleContext | undefined;

  constructor(size: Size) {
    this.#size = size;
    const codec = Codec.findEncoder(AV_CODEC_ID_MJPEG);
    if (!codec) throw new Error('this build of FFmpeg has no JPEG encoder');
    this.#encoder.allocContext3(codec);
    Object.assign(this.#encoder, {
      ...size,
      pixelFormat: AV_PIX_FMT_YUVJ420P,
      timeBase: new Rational(1, 1000),
      threadCount: 1,
      qMin: 1,
    });
    this.#encoder.setFlags(AV_CODEC_FLAG_QSCALE);
    FFmpegError.throwIfError(this.#encoder.open2Sync(codec), 'open the JPEG encoder');
    for (const one of [this.#packet, this.#scaled]) one.alloc();
  }

  async encode(picture: Frame): Promise<Buffer> {
    const { width, height } = this.#size;
    if (!this.#scaler) {
      this.#scaler = new SoftwareScaleContext();
      const from = [picture.width, picture.height, picture.format as AVPixelFormat] as const;
      this.#scaler.getContext(...from, width, height, AV_PIX_FMT_YUVJ420P, SWS_BILINEAR);
    }
    // The encoder may still hold a reference to the previous picture.
    this.#scaled.unref();
    Object.assign(this.#scaled, { width, height, format: AV_PIX_FMT_YUVJ420P });
    FFmpegError.throwIfError(this.#scaled.getBuffer(), 'allocate a picture');
    FFmpegError.throwIfError(await this.#scaler.scaleFrame(this.#scaled, picture), 'scale a picture');
    this.#scaled.quality = QUANTIZER * FF_QP2LAMBDA;
    this.#scaled.pts = picture.pts;
    FFmpegError.throwIfError(await this.#encoder.sendFrame(this.#scaled), 'encode a JPEG');
    FFmpegError.throwIfError(await this.#encoder.receivePacket(this.#packet), 'encode a JPEG');
    const jpeg = Buffer.from(this.#packet.data ?? []);
    this.#packet.unref();
    return jpeg;
  }

  [Symbol.dispose](): void {
    this.#scaler?.freeContext();
    this.#packet.free();
    this.#scaled.free();
    this.#encoder.freeContext();
  }
}
