import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '@video-pipeline/config';
import type { Admin } from '@video-pipeline/kafka';
import { consumerLag } from '@video-pipeline/kafka';
import { groupOf, isEnabled, type STAGE_VARIABLES, stagesOf, topicOf } from '@video-pipeline/stages';
import type { Flow, Percentiles, StageFlow, StageSample, StageState } from './api.ts';

const SAMPLE_MS = 2_000;
/** Samples of ten minutes. */
const MAX_SAMPLES = 300;
/** Time span of a mean rate, milliseconds. It is long, since a stage finishes a whole batch at once. */
const RATE_WINDOW_MS = 10_000;
/** A stage is behind if more work than this waits, and also more than two batches. */
const BEHIND_SECONDS = 10;

/** A part of the flow: ingest first, then the stages that read topics. */
type FlowStage = Pick<StageFlow, 'name' | 'does' | 'reads' | 'carriesFrames'> & { group?: string };

interface FlowSettings {
  stages: readonly FlowStage[];
  bucket: string;
  /** Records of one batch. */
  batchSize: number;
}

/** Offsets of a topic and of its consumer group, summed over partitions. */
export interface TopicOffsets {
  /** Records that were ever written; those that the group has finished; and those that wait for it. */
  written: number;
  finished: number;
  lag: number;
}

/** Progress of each stage that reads a topic, at one time. */
interface Offsets {
  /** Monotonic clock, milliseconds. */
  time: number;
  stages: ReadonlyMap<string, TopicOffsets>;
}

/** Ingest, and the stages that run with these variables. */
export function flowStages(
  config: Config<(typeof STAGE_VARIABLES)[number]>,
  env?: NodeJS.ProcessEnv,
): FlowStage[] {
  const ingest = { name: 'ingest', does: 'Cameras to sampled JPEG frames', reads: null, carriesFrames: true };
  const readers = stagesOf(config)
    .filter((stage) => isEnabled(stage, env))
    .map((stage) => ({
      name: stage.name,
      does: stage.does,
      reads: topicOf(stage, config),
      group: groupOf(stage, config),
      carriesFrames: stage.carriesFrames,
    }));
  return [ingest, ...readers];
}

/** @throws kafkajs' errors, or one that names a missing topic */
export async function readOffsets(admin: Admin, stages: readonly FlowStage[]): Promise<Offsets> {
  const read = stages.map(async ({ name, reads, group }) =>
    reads && group ? [[name, await topicOffsets(admin, group, reads)] as const] : [],
  );
  return { time: performance.now(), stages: new Map((await Promise.all(read)).flat()) };
}

async function topicOffsets(admin: Admin, group: string, topic: string): Promise<TopicOffsets> {
  const partitions = await consumerLag(admin, group, topic);
  const sum = (pick: (one: (typeof partitions)[number]) => number) =>
    partitions.reduce((total, one) => total + pick(one), 0);
  return {
    written: sum((one) => one.end),
    finished: sum((one) => one.committed),
    lag: sum((one) => one.lag),
  };
}

/** Derives rates and states from offsets that are read every two seconds. Keeps the last ten minutes. */
export function flowHistory({ stages, bucket, batchSize }: FlowSettings) {
  const recent: Offsets[] = [];
  const samplesOf = new Map(stages.map((stage) => [stage, [] as StageSample[]]));

  /** @returns the oldest offsets within the window for rates */
  function remember(offsets: Offsets | undefined): Offsets | undefined {
    if (!offsets) return undefined;
    while ((recent[0]?.time ?? offsets.time) < offsets.time - RATE_WINDOW_MS) recent.shift();
    const [first] = recent;
    recent.push(offsets);
    return first;
  }
  return {
    /** @param offsets `undefined` when Kafka did not answer */
    add(offsets: Offsets | undefined, latency: Readonly<Record<string, Percentiles | null>>): void {
      const offsetsBefore = remember(offsets);
      const rate = (pick: (of: Offsets) => number | undefined) => {
        if (!offsets || !offsetsBefore) return null;
        const [now, before] = [pick(offsets), pick(offsetsBefore)];
        if (now === undefined || before === undefined) return null;
        return Math.max(0, ((now - before) * 1000) / (offsets.time - offsetsBefore.time));
      };
      for (const [{ name, reads }, samples] of samplesOf) {
        samples.push({
          time: Date.now(),
          // The rate of ingest is the rate at which the first topic is written.
          rate: rate(({ stages }) => (reads ? stages.get(name)?.finished : [...stages.values()][0]?.written)),
          lag: offsets?.stages.get(name)?.lag ?? null,
          latency: latency[name] ?? null,
        });
        if (samples.length > MAX_SAMPLES) samples.shift();
      }
    },
    /** @param failed records in `failed/` by stage */
    flow(failed: ReadonlyMap<string, number>): Flow {
      const flows = Array.from(samplesOf, ([{ group: _, ...facts }, samples]): StageFlow => {
        const state = stateOf(samples, batchSize);
        return { ...facts, state, failed: failed.get(facts.name) ?? 0, samples };
      });
      return { bucket, stages: flows };
    },
  };
}

/** State of a stage, by its last samples. @param batchSize records of one batch */
export function stateOf(samples: readonly StageSample[], batchSize: number): StageState {
  const recent = samples.slice(-RATE_WINDOW_MS / SAMPLE_MS);
  const now = recent.at(-1);
  if (!now || now.rate === null) return 'unknown';
  const { rate, lag } = now;
  if (lag !== null && lag > 0 && rate === 0) {
    return recent.every((sample) => sample.rate === 0 && sample.lag) ? 'stopped' : 'ok';
  }
  if (lag !== null && lag > Math.max(rate * BEHIND_SECONDS, 2 * batchSize)) return 'behind';
  return rate === 0 ? 'idle' : 'ok';
}

/** Runs `sample` every two seconds, never two at a time. @returns stops it */
export const samplePeriodically = (sample: () => Promise<void>) =>
  untilStopped(async (signal) => {
    while (!signal.aborted) {
      await sample();
      await sleep(SAMPLE_MS, undefined, { signal }).catch(() => {});
    }
  });

/** Starts `run`. @returns a function that aborts its signal, and resolves when it has ended */
export function untilStopped(run: (signal: AbortSignal) => Promise<void>): () => Promise<void> {
  const stopping = new AbortController();
  const running = run(stopping.signal);
  return () => {
    stopping.abort();
    return running;
  };
}
