import { AV_CODEC_ID_H264, AVDISCARD_ALL, AVMEDIA_TYPE_VIDEO } from 'node-av/constants';
import { FFmpegError, FormatContext, Packet, type Stream } from 'node-av/lib';

/** One coded picture: NAL units as in RTP, without start code or length. Times are ticks of 90 kHz. */
interface AccessUnit {
  nals: Buffer[];
  dts: number;
  pts: number;
  keyframe: boolean;
}

/** An H.264 clip in memory, to be sent again and again. */
export interface Clip {
  sps: Buffer;
  pps: Buffer;
  /** In decoding order; the first is a key frame. */
  units: AccessUnit[];
  /** Ticks from the first picture of one round to the first picture of the next round. */
  duration: number;
  /** Longest time between the decoding and the display of a picture, in ticks. 0 without B-frames. */
  reorderDelay: number;
}

/** RTP clock of every video payload, Hz (RFC 6184, 8.2.1). */
export const CLOCK_RATE = 90_000;
const MAX_CLIP_BYTES = 1024 ** 3;
/** NAL unit types of ITU-T H.264, table 7-1. */
const NAL_SPS = 7;
const NAL_PPS = 8;

/**
 * Reads an H.264 video file (MP4, MOV, MKV) without decoding it.
 * @throws Error naming the file
 */
export async function loadClip(path: string): Promise<Clip> {
  await using input = new FormatContext();
  if (input.openInputSync(path) < 0) throw new Error(`can't open video file '${path}'`);
  const stream = input.streams.find((one) => one.codecpar.codecType === AVMEDIA_TYPE_VIDEO);
  if (stream?.codecpar.codecId !== AV_CODEC_ID_H264) throw new Error(`'${path}' has no H.264 video`);
  for (const other of input.streams) if (other.index !== stream.index) other.discard = AVDISCARD_ALL;

  const { sps, pps, lengthSize } = parameterSets(stream.codecpar.extradata, path);
  const all = readUnits(input, stream, lengthSize, path);
  const start = all.findIndex(({ keyframe }) => keyframe);
  const units = start < 0 ? [] : all.slice(start);
  const first = units[0];
  const last = units.at(-1);
  if (!first || !last) throw new Error(`'${path}' has no key frame`);
  const interval = Math.round((last.dts - first.dts) / Math.max(1, units.length - 1)) || CLOCK_RATE / 25;
  return {
    sps,
    pps,
    units,
    duration: last.dts - first.dts + interval,
    reorderDelay: units.reduce((longest, { pts, dts }) => Math.max(longest, pts - dts), 0),
  };
}

// Only the first parameter set of each kind is read: cameras send one of each.
function parameterSets(extradata: Buffer | null, path: string) {
  // AVCDecoderConfigurationRecord, ISO/IEC 14496-15, 5.3.3.1
  if (extradata === null || extradata.length < 8 || extradata[0] !== 1) {
    throw new Error(`'${path}' has no H.264 parameter sets in its header`);
  }
  const lengthSize = (extradata.readUInt8(4) & 3) + 1;
  const spsLength = extradata.readUInt16BE(6);
  const sps = Buffer.from(extradata.subarray(8, 8 + spsLength));
  const ppsAt = 8 + spsLength + 3;
  const pps = Buffer.from(extradata.subarray(ppsAt, ppsAt + extradata.readUInt16BE(ppsAt - 2)));
  return { sps, pps, lengthSize };
}

/** Synchronous: handing thousands of packets to the thread pool takes ten times as long as reading them. */
function readUnits(input: FormatContext, stream: Stream, lengthSize: number, path: string) {
  const ticks = (time: bigint) =>
    Math.round((Number(time) * CLOCK_RATE * stream.timeBase.num) / stream.timeBase.den);
  const units: AccessUnit[] = [];
  let bytes = 0;
  using packet = new Packet();
  packet.alloc();
  for (;;) {
    const code = input.readFrameSync(packet);
    if (code < 0) {
      if (new FFmpegError(code).isEOF) return units;
      throw new Error(`can't read '${path}': ${FFmpegError.strerror(code)}`);
    }
    if (packet.streamIndex === stream.index && packet.data) {
      bytes += packet.size;
      if (bytes > MAX_CLIP_BYTES) throw new Error(`'${path}' is longer than ${MAX_CLIP_BYTES} bytes`);
      const nals = splitNals(Buffer.from(packet.data), lengthSize);
      units.push({ nals, dts: ticks(packet.dts), pts: ticks(packet.pts), keyframe: packet.isKeyframe });
    }
    packet.unref();
  }
}

/** NAL units of a length-prefixed sample (ISO/IEC 14496-15, 5.3.4.2), without parameter sets, which the player adds. */
function splitNals(sample: Buffer, lengthSize: number): Buffer[] {
  const nals: Buffer[] = [];
  for (let at = 0; at + lengthSize < sample.length; ) {
    const length = sample.readUIntBE(at, lengthSize);
    at += lengthSize;
    const nal = sample.subarray(at, at + length);
    const type = (nal[0] ?? 0) & 31;
    if (nal.length > 0 && type !== NAL_SPS && type !== NAL_PPS) nals.push(nal);
    at += length;
  }
  return nals;
}
