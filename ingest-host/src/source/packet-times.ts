import { AV_NOPTS_VALUE, AV_PKT_DATA_PRFT } from 'node-av/constants';
import type { Packet } from 'node-av/lib';
import type { RawFrame } from '../raw-frame.ts';

/** @returns NaN for no time */
export function stampOf(stamp: bigint): number {
  return stamp === AV_NOPTS_VALUE ? Number.NaN : Number(stamp);
}

/**
 * Wall clock minus presentation time, ms, from the sender report in FFmpeg's side data (AVProducerReferenceTime).
 * @param seconds of the time base
 */
export function reportedOffset(packet: Packet, seconds: number): number | undefined {
  if (packet.pts === AV_NOPTS_VALUE) return undefined;
  const data = packet.getSideData(AV_PKT_DATA_PRFT);
  if (data === null) return undefined;
  return Number(data.readBigInt64LE(0)) / 1000 - Number(packet.pts) * seconds * 1000;
}

/** Durations of pictures are inexact: a step back by less is ignored, as in ffmpeg; seconds. */
const MAX_BACK = 0.1;

/**
 * Times of the pictures of a recording. A picture without a time follows the one before: all in an elementary stream, a
 * last B picture in AVI, those before 0 in Matroska. After a step back or too far ahead, as in joined recordings, all
 * times are shifted so that they continue.
 * @param seconds of the time base; 0 if no picture has a time
 * @param interval between pictures of unknown duration, seconds
 * @param maxStep longest step that is no break, seconds
 * @returns a function for the time of each picture in turn, seconds
 */
export function recordedTimes(
  seconds: number,
  interval: number,
  maxStep = Number.POSITIVE_INFINITY,
): (picture: Pick<RawFrame, 'bestEffortTimestamp' | 'duration'>) => number {
  let end: number | undefined;
  let shift: number | undefined;
  return ({ bestEffortTimestamp, duration }) => {
    const stamp = seconds > 0 ? stampOf(bestEffortTimestamp) * seconds : Number.NaN;
    const step = stamp + (shift ?? Number.NaN) - (end ?? Number.NaN);
    if (step > maxStep || step < -MAX_BACK) shift = undefined;
    if (!Number.isNaN(stamp)) shift ??= (end ?? stamp) - stamp;
    const time = Number.isNaN(stamp) ? (end ?? 0) : stamp + (shift ?? 0);
    end = time + (Number(duration) * seconds || interval);
    return time;
  };
}
