import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AV_CODEC_FLAG_QSCALE,
  AV_CODEC_ID_MJPEG,
  AV_PIX_FMT_YUVJ420P,
  FF_QP2LAMBDA,
} from 'node-av/constants';
import { Codec, CodecContext, FFmpegError, FormatContext, Frame, Packet, Rational } from 'node-av/lib';
import { NotOursError } from './not-ours-error.ts';
import { type Size, scalerTo } from './scaler.ts';

/** Quantizer of FFmpeg's JPEG encoder, from 1, the best, to 31. It is close to libjpeg's quality 90. */
const QUANTIZER = 3;

/** All pictures of a video as JPEGs of this size, pixels, in display order. @throws NotOursError naming the key */
export async function decodeVideo(video: Buffer, size: Size, key: string): Promise<Buffer[]> {
  // FFmpeg reads a file on its own threads.
  await using folder = await mkdtempDisposable(join(tmpdir(), 'segment-'));
  const path = join(folder.path, 'segment.mp4');
  await writeFile(path, video);
  return await decodeFile(path, size).catch((cause) => {
    throw new NotOursError(key, `can't be decoded: ${cause.message}`, { cause });
  });
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
  using encoder = jpegEncoder(size);
  using scaler = scalerTo(AV_PIX_FMT_YUVJ420P);
  using packet = new Packet();
  using coded = new Packet();
  using picture = new Frame();
  for (const one of [packet, coded, picture]) one.alloc();
  const all: Buffer[] = [];
  const drain = async () => {
    while ((await decoder.receiveFrame(picture)) >= 0) {
      const scaled = await scaler.scale(picture, size);
      scaled.quality = QUANTIZER * FF_QP2LAMBDA;
      scaled.pts = picture.pts;
      FFmpegError.throwIfError(await encoder.sendFrame(scaled), 'encode a JPEG');
      FFmpegError.throwIfError(await encoder.receivePacket(coded), 'encode a JPEG');
      all.push(Buffer.from(coded.data ?? []));
      coded.unref();
    }
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

function jpegEncoder(size: Size): CodecContext {
  const codec = Codec.findEncoder(AV_CODEC_ID_MJPEG);
  if (!codec) throw new Error('this build of FFmpeg has no JPEG encoder');
  const encoder = new CodecContext();
  encoder.allocContext3(codec);
  Object.assign(encoder, {
    ...size,
    pixelFormat: AV_PIX_FMT_YUVJ420P,
    timeBase: new Rational(1, 1000),
    threadCount: 1,
    qMin: 1,
  });
  encoder.setFlags(AV_CODEC_FLAG_QSCALE);
  FFmpegError.throwIfError(encoder.open2Sync(codec), 'open the JPEG encoder');
  return encoder;
}
