import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUVJ420P,
  AVIO_FLAG_WRITE,
  type FFEncoderCodec,
} from 'node-av/constants';
import { Codec, CodecContext, FormatContext, Frame, IOContext, Packet, Rational } from 'node-av/lib';

export interface VideoOptions {
  codec?: 'libx264' | 'libx265' | 'mjpeg';
  width?: number;
  height?: number;
  /** Presentation time of each picture, seconds, rising. */
  times: number[];
  /** Pictures from one key frame to the next. Default 10. */
  gop?: number;
  /** Default 0. */
  bFrames?: number;
  /** Luma of picture `index` at `(x, y)`, 16..235. Default: a moving gradient. */
  luma?: (x: number, y: number, index: number) => number;
}

/** `count` times at an even rate, from 0. */
export function evenTimes(count: number, framesPerSecond: number): number[] {
  return Array.from({ length: count }, (_, index) => index / framesPerSecond);
}

/** A folder for one test file's videos, and the way to remove it. */
export async function videoFolder(): Promise<{ path(name: string): string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'video-'));
  return { path: (name) => join(folder, name), remove: () => rm(folder, { recursive: true, force: true }) };
}

const TIME_BASE = { num: 1, den: 90_000 };
const movingGradient = (x: number, y: number, index: number) => 16 + ((x + y + index * 4) % 220);

/** Writes a video with the given picture times. The extension of the file gives the container. */
export async function makeVideo(path: string, options: VideoOptions): Promise<string> {
  const { codec: name = 'libx264', width = 320, height = 240, times, luma = movingGradient } = options;
  using encoder = openEncoder(name, width, height, options);
  await using output = new FormatContext();
  check(output.allocOutputContext2(null, null, path), 'allocate');
  const stream = output.newStream();
  check(stream.codecpar.fromContext(encoder), 'parameters');
  stream.timeBase = new Rational(TIME_BASE.num, TIME_BASE.den);
  const file = new IOContext();
  check(file.open2Sync(path, AVIO_FLAG_WRITE), 'open');
  output.pb = file;
  check(output.writeHeaderSync(), 'header');

  using packet = new Packet();
  packet.alloc();
  const drain = () => {
    while (encoder.receivePacketSync(packet) >= 0) {
      // Without a duration the last picture would end when it begins, and never be shown.
      packet.duration = 1n;
      packet.rescaleTs(TIME_BASE, stream.timeBase);
      packet.streamIndex = 0;
      check(output.interleavedWriteFrameSync(packet), 'write');
    }
  };
  for (const [index, time] of times.entries()) {
    using frame = Frame.fromVideoBuffer(
      picture(width, height, (x, y) => luma(x, y, index)),
      { width, height, format: encoder.pixelFormat, pts: BigInt(Math.round(time * TIME_BASE.den)) },
    );
    check(encoder.sendFrameSync(frame), 'encode');
    drain();
  }
  encoder.sendFrameSync(null);
  drain();
  check(output.writeTrailerSync(), 'trailer');
  output.pb = null;
  file.closepSync();
  return path;
}

function openEncoder(name: string, width: number, height: number, { gop = 10, bFrames = 0 }: VideoOptions) {
  const codec = Codec.findEncoderByName(name as FFEncoderCodec);
  if (!codec) throw new Error(`no encoder '${name}'`);
  const encoder = new CodecContext();
  encoder.allocContext3(codec);
  encoder.width = width;
  encoder.height = height;
  encoder.pixelFormat = name === 'mjpeg' ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_YUV420P;
  encoder.timeBase = new Rational(TIME_BASE.num, TIME_BASE.den);
  encoder.gopSize = gop;
  encoder.maxBFrames = bFrames;
  encoder.threadCount = 1;
  encoder.framerate = new Rational(25, 1);
  encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
  if (name !== 'mjpeg') encoder.setOption('preset', 'ultrafast');
  check(encoder.open2Sync(codec), 'open encoder');
  return encoder;
}

function picture(width: number, height: number, luma: (x: number, y: number) => number): Buffer {
  const planes = Buffer.alloc((width * height * 3) / 2, 128);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) planes[y * width + x] = luma(x, y);
  }
  return planes;
}

function check(code: number, step: string): void {
  if (code < 0) throw new Error(`${step}: FFmpeg error ${code}`);
}
