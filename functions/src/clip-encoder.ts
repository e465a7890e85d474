import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOUR_MS } from '@video-pipeline/frame';
import type { Size } from '@video-pipeline/storage/scaler';
import {
  AV_CODEC_FLAG_FRAME_DURATION,
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_PIX_FMT_YUV420P,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT470BG,
  AVIO_FLAG_WRITE,
  FF_ENCODER_LIBX264,
} from 'node-av/constants';
import {
  Codec,
  CodecContext,
  FFmpegError,
  FormatContext,
  type Frame,
  IOContext,
  Packet,
  Rational,
} from 'node-av/lib';
import { ClipEncodingError, pictureReader } from './picture-reader.ts';

interface TimedPicture {
  /** When it is shown, epoch milliseconds. */
  capturedAt: number;
  jpeg: Buffer;
}

const TICKS_PER_SECOND = 1000;
const TIME_BASE = { num: 1, den: TICKS_PER_SECOND };
/** How long a clip's only picture is shown, milliseconds. */
const ONLY_ONE_MS = 1_000;

/**
 * Makes an MP4 that every browser plays: H.264 in 4:2:0, with the index before the pictures. Each picture is shown at
 * its time. The last one is shown for as long as the others on average. Of pictures with the same time only the first
 * is used. The same pictures give the same bytes on one machine, if their width is a multiple of 256. With AVX-512,
 * x264's MB-tree reads beyond a row of macroblocks: in other widths a few bytes differ now and then.
 * @param pictures in the order of time; those of another size are scaled to the size of the first
 * @throws ClipEncodingError when a picture is no JPEG, and when there are no pictures; FFmpegError
 */
export async function encodeClip(pictures: readonly TimedPicture[]): Promise<Buffer> {
  const rising = pictures.filter(({ capturedAt }, i) => capturedAt > (pictures[i - 1]?.capturedAt ?? -1));
  return encode(rising, { ...CLIP, begin: rising[0]?.capturedAt ?? 0 });
}

/**
 * Makes the MP4 of a video segment: H.264 in 4:2:0, one CMAF fragment with one key frame. Media time counts from the
 * start of the first picture's hour. Each picture is shown at its time. Pictures with the same time are shown a
 * millisecond apart. The same pictures give the same bytes.
 * @param pictures in the order of time, of one size
 * @throws ClipEncodingError when a picture is no JPEG or larger than players accept, and when there are no pictures;
 *   FFmpegError
 */
export async function encodeSegment(pictures: readonly TimedPicture[]): Promise<Buffer> {
  const begin = Math.floor((pictures[0]?.capturedAt ?? 0) / HOUR_MS) * HOUR_MS;
  let last = -1;
  const rising = pictures.map(({ capturedAt, jpeg }) => {
    last = Math.max(capturedAt, last + 1);
    return { capturedAt: last, jpeg };
  });
  return encode(rising, { ...SEGMENT, begin });
}

interface EncodeMode {
  /** Origin of media time, epoch milliseconds. */
  begin: number;
  /** Wider or higher pictures are scaled down to this size, pixels. */
  maxWidth: number;
  maxHeight: number;
  /** Most pixels of a picture. */
  maxPixels: number;
  /** Pictures from one key frame to the next. A player can seek to key frames only. */
  gop: number;
  /** The option `movflags` of FFmpeg's MP4 muxer. */
  movflags: string;
  encoder: Readonly<Record<string, string>>;
}

const CLIP = {
  // Labels are still readable at this width.
  maxWidth: 1280,
  // x264 refuses larger sides.
  maxHeight: 16_384,
  maxPixels: 50_000_000,
  gop: 20,
  movflags: '+faststart',
  // Sharp enough for labels, at about 1 MB for 6 s of 720p.
  encoder: { preset: 'veryfast', crf: '26' },
};
const SEGMENT = {
  maxWidth: Number.POSITIVE_INFINITY,
  maxHeight: Number.POSITIVE_INFINITY,
  // The largest picture of level 5.2 (ITU-T H.264, table A-1). Few decoders support higher levels.
  maxPixels: 36_864 * 256,
  gop: 1_000,
  movflags: '+cmaf+empty_moov+default_base_moof+frag_custom+frag_discont+skip_trailer',
  // As sharp and as large as `veryfast` at CRF 26, in half the time: `npm run bench:video`.
  // Parameter sets are repeated in each segment, as a stream may change its size within an hour: FFmpeg's HLS reader
  // otherwise uses those of the hour's first segment for all.
  encoder: { preset: 'ultrafast', crf: '27', 'x264-params': 'repeat-headers=1' },
};

async function encode(pictures: readonly TimedPicture[], mode: EncodeMode): Promise<Buffer> {
  // A file, since the muxer seeks back in its output.
  await using folder = await mkdtempDisposable(join(tmpdir(), 'clip-'));
  const path = join(folder.path, 'clip.mp4');
  await write(path, pictures, mode);
  return await readFile(path);
}

async function write(path: string, pictures: readonly TimedPicture[], mode: EncodeMode): Promise<void> {
  const [first] = pictures;
  if (!first) throw new ClipEncodingError('there are no pictures');
  using reader = pictureReader(mode.maxPixels);
  const { width, height } = await reader.decode(first.jpeg);
  const scale = Math.min(1, mode.maxWidth / width, mode.maxHeight / height);
  const size = { width: even(width * scale), height: even(height * scale) };
  const span = (pictures.at(-1) ?? first).capturedAt - first.capturedAt;
  const interval = span / (pictures.length - 1) || ONLY_ONE_MS;
  await using writer = clipWriter(path, size, interval, mode);
  for (const [i, { capturedAt, jpeg }] of pictures.entries()) {
    const until = pictures[i + 1]?.capturedAt ?? capturedAt + Math.round(interval);
    const picture = await reader.read(jpeg, size);
    picture.pts = BigInt(capturedAt - mode.begin);
    picture.duration = BigInt(until - capturedAt);
    await writer.write(picture);
  }
  await writer.finish();
}

/** To the nearest even number: 4:2:0 has one colour for two by two pixels. */
const even = (side: number) => Math.max(2, 2 * Math.round(side / 2));

/** @param interval between pictures on average, milliseconds */
function clipWriter(path: string, { width, height }: Size, interval: number, mode: EncodeMode) {
  const [encoder, packet] = [new CodecContext(), new Packet()];
  const [output, file] = [new FormatContext(), new IOContext()];
  const codec = Codec.findEncoderByName(FF_ENCODER_LIBX264);
  if (!codec) throw new Error('this build of FFmpeg has no H.264 encoder');
  encoder.allocContext3(codec);
  Object.assign(encoder, {
    width,
    height,
    pixelFormat: AV_PIX_FMT_YUV420P,
    // The colour matrix stays that of JFIF.
    colorSpace: AVCOL_SPC_BT470BG,
    colorRange: AVCOL_RANGE_MPEG,
    timeBase: new Rational(TIME_BASE.num, TIME_BASE.den),
    // Not the rate of the ticks: 1000 pictures a second would need an H.264 level that decoders refuse.
    framerate: new Rational(TICKS_PER_SECOND, Math.round(interval)),
    gopSize: mode.gop,
    maxBFrames: 0,
    threadCount: 1,
  });
  // Without a duration the last picture would last 0 s and never be shown.
  encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER, AV_CODEC_FLAG_FRAME_DURATION);
  for (const [name, value] of Object.entries(mode.encoder)) encoder.setOption(name, value);
  FFmpegError.throwIfError(encoder.open2Sync(codec), 'open the H.264 encoder');

  FFmpegError.throwIfError(output.allocOutputContext2(null, 'mp4', path), 'open MP4');
  const stream = output.newStream();
  FFmpegError.throwIfError(stream.codecpar.fromContext(encoder), 'describe the stream');
  stream.timeBase = new Rational(TIME_BASE.num, TIME_BASE.den);
  FFmpegError.throwIfError(file.open2Sync(path, AVIO_FLAG_WRITE), `open ${path}`);
  output.pb = file;
  FFmpegError.throwIfError(output.setOption('movflags', mode.movflags), 'set movflags');
  const timeScale = output.setOption('video_track_timescale', String(TICKS_PER_SECOND));
  FFmpegError.throwIfError(timeScale, 'set the time scale');
  FFmpegError.throwIfError(output.writeHeaderSync(), 'write the header');
  packet.alloc();

  /** @param picture the next one; null after the last one */
  async function write(picture: Frame | null): Promise<void> {
    FFmpegError.throwIfError(await encoder.sendFrame(picture), 'encode');
    while ((await encoder.receivePacket(packet)) >= 0) {
      packet.streamIndex = 0;
      packet.rescaleTs(TIME_BASE, stream.timeBase);
      FFmpegError.throwIfError(await output.interleavedWriteFrame(packet), 'write');
    }
  }
  return {
    write,
    async finish(): Promise<void> {
      await write(null);
      FFmpegError.throwIfError(await output.writeTrailer(), 'write the index');
    },
    async [Symbol.asyncDispose](): Promise<void> {
      output.pb = null;
      await file.closep();
      output.freeContext();
      packet.free();
      encoder.freeContext();
    },
  };
}
