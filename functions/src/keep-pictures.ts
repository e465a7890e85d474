import type { Config } from '@video-pipeline/config';
import { type DetectedFrame, decodeSeenFrame, type SeenFrame, withPictures } from '@video-pipeline/frame';
import type { Tail, TailRecord } from '@video-pipeline/kafka';
import { cutRuns, inParallel } from '@video-pipeline/storage';
import { offsetRanges, topicPartition } from './checkpoint-cache.ts';
import { STREAM_CONCURRENCY } from './frame-concurrency.ts';
import { byStream, type Received } from './records.ts';

// STORE=events: pictures are kept for some seconds before and after each frame of interest. The seconds before it may
// lie in an earlier batch, whose pictures are not stored: they are read from Kafka again. Whether a frame is kept
// depends only on the frames around it, not on how batches were cut.

/** What makes a frame of interest, and the time around it that is kept. */
export interface KeepRule {
  /** Classes whose detection is of interest. `any`: each detection. Events always are. */
  classes: 'any' | ReadonlySet<string>;
  beforeMs: number;
  afterMs: number;
}

export interface Earlier {
  /** Frames of the stream that were captured from `since` up to before `first`, in any order. Some may be missing. */
  since(first: Received<DetectedFrame>, since: number): Promise<SeenFrame[]>;
  /** The frames with their pictures, as far as Kafka still has them. */
  withPictures(frames: readonly SeenFrame[]): Promise<DetectedFrame[]>;
}

interface ChosenPictures {
  kept: ReadonlySet<DetectedFrame>;
  /** Frames of earlier batches that are kept because of this batch. */
  earlier: DetectedFrame[];
  /** Remembers the batch. Called once all its pictures are stored: after a failure the choice is made again. */
  commit(): void;
}

/** The rule of STORE=events. Pictures are kept for the seconds that a clip shows. */
export function keepRuleOf(
  config: Config<'STORE_CLASSES' | 'CLIP_BEFORE_SECONDS' | 'CLIP_AFTER_SECONDS'>,
): KeepRule {
  const { STORE_CLASSES: names } = config;
  return {
    classes: names ? new Set(names.filter((name) => name !== NO_CLASS)) : 'any',
    beforeMs: config.CLIP_BEFORE_SECONDS * 1000,
    afterMs: config.CLIP_AFTER_SECONDS * 1000,
  };
}

/** In STORE_CLASSES: no class. */
const NO_CLASS = 'none';

export type PictureChooser = (received: readonly Received<DetectedFrame>[]) => Promise<ChosenPictures>;

/** How long times of interest are remembered beyond the windows, milliseconds: a batch may be delivered again. */
const REMEMBERED_MS = 60_000;

export function createPictureChooser(rule: KeepRule, earlier: Earlier): PictureChooser {
  const memory = createMemory();
  const timesIn = (frames: readonly Omit<DetectedFrame, 'jpeg'>[]) =>
    frames.flatMap(({ capturedAt, detections, events = [], earlierEvents = [] }) => {
      const isSeen = detections.some((one) => rule.classes === 'any' || rule.classes.has(one.class_name));
      return isSeen || events.length > 0 ? [capturedAt, ...earlierEvents] : earlierEvents;
    });
  const isNear = ({ capturedAt }: SeenFrame | DetectedFrame, times: readonly number[]) =>
    times.some((time) => time - rule.beforeMs <= capturedAt && capturedAt <= time + rule.afterMs);

  async function chooseStream(frames: readonly Received<DetectedFrame>[]) {
    const [first] = frames;
    let times = first && memory.timesOf(first);
    const choices = [];
    // A run ends where the clock was set back, and before a frame that was put back from `failed/`.
    const goesOn = (run: typeof frames, { frame }: Received<DetectedFrame>) =>
      frame.capturedAt >= (run.at(-1)?.frame.capturedAt ?? 0);
    for (const run of cutRuns(frames, goesOn)) {
      const choice = await chooseRun(run, times);
      choices.push(choice);
      times = choice.times;
    }
    return {
      streamId: first?.frame.streamId ?? '',
      kept: choices.flatMap(({ kept }) => kept),
      earlier: choices.flatMap((one) => one.earlier),
      times: times ?? [],
    };
  }

  /** @param remembered times of interest before the run; undefined if they are not known */
  async function chooseRun(
    [first, ...others]: readonly [Received<DetectedFrame>, ...Received<DetectedFrame>[]],
    remembered: readonly number[] | undefined,
  ) {
    const frames = [first, ...others].map(({ frame }) => frame);
    const begin = first.frame.capturedAt;
    const own = timesIn(frames);
    const before = remembered?.filter((time) => time < begin) ?? [];
    // Not as arguments: writers to Kafka may name more times than a call takes.
    const wanted = own.reduce((one, other) => Math.min(one, other), Infinity) - rule.beforeMs;
    // Frames around an earlier time of interest were kept with that time's batch.
    const after = (from: number, time: number) =>
      time - rule.beforeMs <= from ? Math.max(from, time + rule.afterMs + 1) : from;
    const uncovered = before.toSorted((a, b) => a - b).reduce(after, wanted);
    const since = remembered ? uncovered : Math.min(begin - rule.afterMs, wanted);
    const seen = since < begin ? await earlier.since(first, since) : [];
    const known = remembered ?? timesIn(seen);
    const times = [...known, ...own];
    const covering = remembered ? before : known;
    const remaining = seen.filter((frame) => isNear(frame, own) && !isNear(frame, covering));
    const end = frames.at(-1)?.capturedAt ?? begin;
    return {
      kept: frames.filter((frame) => isNear(frame, times)),
      earlier: remaining.length > 0 ? await earlier.withPictures(remaining) : [],
      times: times.filter((time) => time > end - rule.beforeMs - rule.afterMs - REMEMBERED_MS),
    };
  }

  return async (received) => {
    memory.enter(received);
    const chosen = await inParallel([...byStream(received).values()], STREAM_CONCURRENCY, chooseStream);
    return {
      kept: new Set(chosen.flatMap(({ kept }) => kept)),
      earlier: chosen.flatMap((one) => one.earlier),
      commit: () => memory.commit(received, new Map(chosen.map(({ streamId, times }) => [streamId, times]))),
    };
  };
}

/**
 * Times of interest of each stream. They are known only while this process gets every batch of the stream's partition:
 * another process may run a batch, and its times are not known here.
 */
function createMemory() {
  /** By source: this process has stored every batch from offset `from` up to before `next`. */
  const ranges = new Map<string, { from: number; next: number }>();
  const timesBy = new Map<string, { source: string; times: number[] }>();
  const spansIn = (received: readonly Received[]) =>
    offsetRanges(received.map(({ record }) => record)).values();
  return {
    /** Forgets the sources that this batch does not continue. */
    enter(received: readonly Received[]): void {
      for (const { source, first } of spansIn(received)) {
        const range = ranges.get(source);
        if (range && range.from <= first && first <= range.next) continue;
        ranges.delete(source);
        for (const [streamId, one] of timesBy) if (one.source === source) timesBy.delete(streamId);
      }
    },
    /**
     * Leaves out a batch that is older than what is known: a handler that timed out goes on in the background.
     * @param times of interest, by stream
     */
    commit(received: readonly Received[], times: ReadonlyMap<string, number[]>): void {
      for (const { source, first, last } of spansIn(received)) {
        const { from, next } = ranges.get(source) ?? { from: first, next: first };
        if (last < next - 1) continue;
        ranges.set(source, { from, next: last + 1 });
        for (const { record, frame } of received)
          if (topicPartition(record) === source)
            timesBy.set(frame.streamId, { source, times: times.get(frame.streamId) ?? [] });
      }
    },
    /** Undefined if this process does not know all of them. */
    timesOf({ record, frame }: Received): number[] | undefined {
      const known = timesBy.get(frame.streamId);
      return known?.source === topicPartition(record) ? known.times : undefined;
    },
  };
}

/** Most records that are read back. */
const LOOK_BACK = 2_000;
/** This many older frames of the stream in a row end the search: a single one may have been put back from `failed/`. */
const OLDER = 10;

/**
 * Reads earlier frames from Kafka. With PICTURES=twice they lie before the batch, on its own partition. With `once`
 * they are the newest references that detect has published.
 */
export function earlierFrom(tail: Pick<Tail, 'newest' | 'before' | 'at'>, detectionsTopic: string): Earlier {
  return {
    async since({ record, frame: { streamId, capturedAt: end } }, since) {
      const records =
        record.topic === detectionsTopic
          ? tail.before(record, LOOK_BACK)
          : tail.newest(detectionsTopic, streamId, LOOK_BACK);
      // A frame that was delivered again lies there twice.
      const found = new Map<string, SeenFrame>();
      let older = 0;
      for await (const one of records) {
        const seen = one.key?.toString() === streamId ? seenIn(one) : undefined;
        if (!seen || seen.capturedAt >= end) continue;
        // The newest references are of this batch.
        if ('picture' in seen && seen.picture.offset >= record.offset) continue;
        if (seen.capturedAt < since) {
          if (++older === OLDER) break;
          continue;
        }
        older = 0;
        // A copy of the picture: otherwise each frame would hold its whole batch in memory.
        const own = 'jpeg' in seen ? { ...seen, jpeg: Buffer.from(seen.jpeg) } : seen;
        found.set(`${seen.session}/${seen.frameNumber}`, own);
      }
      return [...found.values()];
    },
    withPictures: (frames) => withPictures(frames, (positions) => tail.at(positions)),
  };
}

function seenIn(record: TailRecord): SeenFrame | undefined {
  try {
    return decodeSeenFrame(record);
  } catch {
    return undefined; // A dead letter.
  }
}
