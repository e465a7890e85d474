import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
import { ClipEncodingError, PictureReader, type Size } from './picture-reader.ts';

/** A picture of a clip or a segment. */
export interface TimedPicture {
  /** When it is shown, epoch milliseconds. */
  capturedAt: number;
  jpeg: Buffer;
}

/** Wider pictures are made so wide, pixels; so that the labels can still be read. */
const MAX_WIDTH = 1280;
/** Most pixels of a picture. */
const MAX_PIXELS = 50_000_000;
const TICKS_PER_SECOND = 1000;
const HOUR_MS = 3_600_000;
const TIME_BASE = { num: 1, den: TICKS_PER_SECOND };
/** How long a picture is shown that is the only one, milliseconds. */
const ONLY_ONE_MS = 1_000;

/**
 * Makes an MP4 that every browser plays: H.264 in 4:2:0, the index before the pictures. Each picture is shown at its time,
 * the last one for as long as the others on average; of pictures of one time the first counts. The same pictures
 * give the same bytes.
 * @param pictures in the order of time; those of another size are scaled to the first one's
 * @throws ClipEncodingError for a picture that is no JPEG, and for none at all; FFmpegError
 */
export async function encodeClip(pictures: readonly TimedPicture[]): Promise<Buffer> {
  const rising = pictures.filter(({ capturedAt }, i) => capturedAt > (pictures[i - 1]?.capturedAt ?? -1));
  return encode(rising, { ...CLIP, begin: rising[0]?.capturedAt ?? 0 });
}

/**
 * Makes what a video segment is made of: H.264 in 4:2:0 in one fragment of CMAF, with one key frame. Media time counts from
 * the begin of the first picture's hour, and each picture is shown at its time; of those of one time, one a millisecond after the
 * other. The same pictures give the same bytes.
 * @param pictures in the order of time, of one size
 * @throws ClipEncodingError for a picture that is no JPEG or larger than players take, and for none at all; FFmpegError
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

/** How a video is made of pictures. */
interface Making {
  /** Epoch milliseconds that its media time counts from. */
  begin: number;
  /** Wider pictures are made so wide, pixels. */
  maxWidth: number;
  /** No picture has more. */
  maxPixels: number;
  /** Pictures from one key frame to the next: where a player may jump to. */
  gop: number;
  /** Of FFmpeg's muxer `mp4`. */
  movflags: string;
  /** Of libx264. */
  encoder: Readonly<Record<string, string>>;
}

const CLIP = {
  maxWidth: MAX_WIDTH,
  maxPixels: MAX_PIXELS,
  gop: 20,
  movflags: '+faststart',
  // Sharp enough for labels, at about 1 MB for 6 s of 720p.
  encoder: { preset: 'veryfast', crf: '26' },
};
const SEGMENT = {
  maxWidth: Number.POSITIVE_INFINITY,
  // Level 5.2 ends here (ITU-T H.264, table A-1): few decoders go on.
  maxPixels: 36_864 * 256,
  gop: 1_000,
  movflags: '+cmaf+empty_moov+default_base_moof+frag_custom+frag_discont+skip_trailer',
  // As sharp as `veryfast` at 26 for as many bytes, in half the time: `npm run bench:video`.
  encoder: { preset: 'ultrafast', crf: '27' },
};

async function encode(pictures: readonly TimedPicture[], making: Making): Promise<Buffer> {
  // The muxer goes back in what it wrote, as it can in a file.
  const folder = await mkdtemp(join(tmpdir(), 'clip-'));
  try {
    const path = join(folder, 'clip.mp4');
    await write(path, pictures, making);
    return await readFile(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function write(path: string, pictures: readonly TimedPicture[], making: Making): Promise<void> {
  const [first] = pictures;
  if (!first) throw new ClipEncodingError('there are no pictures');
  using reader = new PictureReader(making.maxPixels);
  const { width, height } = await reader.decode(first.jpeg);
  const scale = Math.min(1, making.maxWidth / width);
  const size = { width: even(width * scale), height: even(height * scale) };
  const span = (pictures.at(-1) ?? first).capturedAt - first.capturedAt;
  const interval = span / (pictures.length - 1) || ONLY_ONE_MS;
  await using writer = new ClipWriter(path, size, interval, making);
  for (const [i, { capturedAt, jpeg }] of pictures.entries()) {
    const until = pictures[i + 1]?.capturedAt ?? capturedAt + Math.round(interval);
    const picture = await reader.read(jpeg, size);
    picture.pts = BigInt(capturedAt - making.begin);
    picture.duration = BigInt(until - capturedAt);
    await writer.write(picture);
  }
  await writer.finish();
}

/** To the nearest even number: 4:2:0 has one colour for two by two pixels. */
const even = (side: number) => Math.max(2, 2 * Math.round(side / 2));

/** Encodes pictures into an MP4 file. */
class ClipWriter implements AsyncDisposable {
  readonly #encoder = new CodecContext();
  readonly #output = new FormatContext();
  readonly #file = new IOContext();
  readonly #packet = new Packet();

  /** @param interval between pictures on average, milliseconds */
  constructor(path: string, { width, height }: Size, interval: number, { gop, movflags, encoder }: Making) {
    const codec = Codec.findEncoderByName(FF_ENCODER_LIBX264);
    if (!codec) throw new Error('this build of FFmpeg has no H.264 encoder');
    this.#encoder.allocContext3(codec);
    Object.assign(this.#encoder, {
      width,
      height,
      pixelFormat: AV_PIX_FMT_YUV420P,
      // The matrix is JFIF's still.
      colorSpace: AVCOL_SPC_BT470BG,
      colorRange: AVCOL_RANGE_MPEG,
      timeBase: new Rational(TIME_BASE.num, TIME_BASE.den),
      // Not of the ticks: decoders refuse the level that a thousand pictures a second would need.
      framerate: new Rational(TICKS_PER_SECOND, Math.round(interval)),
      gopSize: gop,
      maxBFrames: 0,
      threadCount: 1,
    });
    // A last picture without a duration would end when it begins, and never be shown.
    this.#encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER, AV_CODEC_FLAG_FRAME_DURATION);
    for (const [name, value] of Object.entries(encoder)) this.#encoder.setOption(name, value);
    FFmpegError.throwIfError(this.#encoder.open2Sync(codec), 'open the H.264 encoder');

    FFmpegError.throwIfError(this.#output.allocOutputContext2(null, 'mp4', path), 'open MP4');
    const stream = this.#output.newStream();
    FFmpegError.throwIfError(stream.codecpar.fromContext(this.#encoder), 'describe the stream');
    stream.timeBase = new Rational(TIME_BASE.num, TIME_BASE.den);
    FFmpegError.throwIfError(this.#file.open2Sync(path, AVIO_FLAG_WRITE), `open ${path}`);
    this.#output.pb = this.#file;
    FFmpegError.throwIfError(this.#output.setOption('movflags', movflags), 'lay the file out');
    FFmpegError.throwIfError(
      this.#output.setOption('video_track_timescale', String(TICKS_PER_SECOND)),
      'set the ticks',
    );
    FFmpegError.throwIfError(this.#output.writeHeaderSync(), 'write the header');
    this.#packet.alloc();
  }

  async write(picture: Frame): Promise<void> {
    FFmpegError.throwIfError(await this.#encoder.sendFrame(picture), 'encode');
    await this.#drain();
  }

  async finish(): Promise<void> {
    FFmpegError.throwIfError(await this.#encoder.sendFrame(null), 'encode');
    await this.#drain();
    FFmpegError.throwIfError(await this.#output.writeTrailer(), 'write the index');
  }

  async #drain(): Promise<void> {
    const [stream] = this.#output.streams;
    while ((await this.#encoder.receivePacket(this.#packet)) >= 0) {
      this.#packet.streamIndex = 0;
      if (stream) this.#packet.rescaleTs(TIME_BASE, stream.timeBase);
      FFmpegError.throwIfError(await this.#output.interleavedWriteFrame(this.#packet), 'write');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#output.pb = null;
    await this.#file.closep();
    this.#output.freeContext();
    this.#packet.free();
    this.#encoder.freeContext();
  }
}
