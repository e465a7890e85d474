import { redact } from '@video-pipeline/telemetry';
import { isPlausible } from './clock.ts';
import { type Jpeg, JpegEncoder } from './jpeg.ts';
import { openSource } from './source/open.ts';
import type { Picture, Source, Transport } from './source/source.ts';
import { SourceError } from './source/source-error.ts';
import type { VideoFormat } from './source/video-format.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

interface ProbeOptions {
  transport: Transport;
  /** How long to watch, seconds: by the wall clock for a camera, by the video's time for a file. */
  seconds: number;
  /** Longest wait for the first or the next picture, seconds. */
  timeoutSeconds: number;
  /** Largest {@link ProbeReport.jpeg}, bytes, as for ingest. */
  maxFrameBytes: number;
  /** JPEG quality, 1..100, as for ingest. */
  quality: number;
}

/** Facts about a source. Unknown ones are absent. */
export interface ProbeReport extends VideoFormat {
  /** Number of coded pictures received. */
  packets: number;
  /** Number of decoded pictures. The others were damaged, or came before the first key frame. */
  pictures: number;
  /** Frames a second by presentation time. */
  measuredFps?: number;
  /** Longest time from one picture to the next, seconds. */
  longestGapSeconds?: number;
  /** Mean time from one key frame to the next; absent when only one came. */
  keyFrameIntervalSeconds?: number;
  /** Bit rate of the video without audio. */
  bitsPerSecond?: number;
  clock: ProbeClock;
  /** The first picture. */
  jpeg: Jpeg;
}

export interface ProbeClock {
  /** Source of `captured_at`: plausible RTCP sender reports, plausible dates of an HLS list, or the time of arrival. */
  source: 'rtcp' | 'list' | 'arrival';
  /** The camera's clock minus the time of arrival; absent if the camera's clock is unknown. */
  offsetMs?: number;
}

interface Coded {
  bytes: number;
  isKey: boolean;
}

/**
 * Watches a source for a while, with the same code as ingest.
 * @param url URL as for a stream; never shown
 * @throws SourceError
 * @example
 * const limits = { seconds: 5, timeoutSeconds: 10, maxFrameBytes: 160_000, quality: 85 };
 * const { codec, measuredFps } = await probe('rtsp://camera/stream', { transport: 'tcp', ...limits });
 */
export async function probe(url: string, options: ProbeOptions): Promise<ProbeReport> {
  const { transport, timeoutSeconds } = options;
  const watchdog = startWatchdog(timeoutSeconds * 1000);
  let source: Source | undefined;
  try {
    source = await openSource(url, { transport, timeoutSeconds, audio: true }, watchdog.signal);
    const opened = source;
    watchdog.signal.addEventListener('abort', () => opened.interrupt());
    return await watch(source, options, watchdog);
  } catch (error) {
    if (watchdog.signal.aborted) throw new SourceError(`no picture for ${timeoutSeconds} s`);
    if (error instanceof SourceError) throw error;
    throw new SourceError(redact(error instanceof Error ? error.message : String(error)));
  } finally {
    watchdog.stop();
    await source?.close();
  }
}

async function watch(source: Source, options: ProbeOptions, watchdog: Watchdog): Promise<ProbeReport> {
  const coded: Coded[] = [];
  const times: number[] = [];
  using encoder = new JpegEncoder(options.maxFrameBytes, options.quality);
  const started = performance.now();
  const isEnough = ({ time }: Picture) =>
    time - (times[0] ?? time) >= options.seconds || performance.now() - started >= options.seconds * 1000;
  let jpeg: Jpeg | undefined;
  let offsetMs: number | undefined;
  const notePacket = (_time: number, { size, isKeyframe }: { size: number; isKeyframe: boolean }) => {
    coded.push({ bytes: size, isKey: isKeyframe });
    return true;
  };
  for await (const picture of source.pictures(notePacket)) {
    watchdog.feed();
    times.push(picture.time);
    if (picture.wallClock !== undefined) offsetMs = Math.round(picture.wallClock - Date.now());
    jpeg ??= await encoder.encode(picture.frame);
    if (isEnough(picture)) break;
  }
  if (!jpeg) throw new SourceError('no picture in it');
  return {
    ...source.format,
    packets: coded.length,
    pictures: times.length,
    ...rates(coded, times),
    clock: clockOf(offsetMs, source),
    jpeg,
  };
}

function clockOf(offsetMs: number | undefined, { maxDelayMs, format }: Source): ProbeClock {
  if (offsetMs === undefined) return { source: 'arrival' };
  const named = format.container === 'hls' ? 'list' : 'rtcp';
  return { source: isPlausible(offsetMs, 0, maxDelayMs) ? named : 'arrival', offsetMs };
}

/** Mean rates of the received pictures. */
function rates(coded: Coded[], times: number[]) {
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  const span = (times.at(-1) ?? 0) - (times[0] ?? 0);
  if (span <= 0) return {};
  const measuredFps = gaps.length / span;
  const bytes = coded.reduce((sum, one) => sum + one.bytes, 0);
  // Counted in pictures: FFmpeg has no time for the first picture of an RTSP stream, which is a key frame.
  const keys = coded.flatMap(({ isKey }, index) => (isKey ? [index] : []));
  const betweenKeys = ((keys.at(-1) ?? 0) - (keys[0] ?? 0)) / (keys.length - 1);
  return {
    measuredFps: thousandths(measuredFps),
    longestGapSeconds: thousandths(Math.max(...gaps)),
    bitsPerSecond: Math.round((bytes * 8 * measuredFps) / coded.length),
    ...(keys.length > 1 ? { keyFrameIntervalSeconds: thousandths(betweenKeys / measuredFps) } : {}),
  };
}

function thousandths(value: number): number {
  return Math.round(value * 1000) / 1000;
}
