import type { PartitionLag } from '@video-pipeline/kafka';
import { sum } from './sum.ts';

export interface PipelineState {
  /** Time by `performance.now`. */
  at: number;
  /** Age of the oldest frame that waits for a stage, seconds; the sum over all stages. */
  delaySeconds: number;
  /** Finished divided by arrived frames of the last seconds, 1 if none arrived; the product over all stages. */
  progress: number;
}

/** Most samples of a partition. They are needed while its stage is behind. */
const MAX_HISTORY = 600;

interface Sample {
  at: number;
  value: number;
}

/**
 * Computes the pipeline's delay from offsets of topics and consumer groups, sampled regularly. A record was written
 * between the samples before and after its offset. So no record has to be read, whatever Kafka's version is.
 * @param windowMs span for mean rates, milliseconds; several batches, as a stage finishes a batch as a whole
 * @returns a function that takes the lags of each stage's partitions, and the time of the sample by `performance.now`
 */
export function pipelineDelay(windowMs: number) {
  const stages = new Map<string, ReturnType<typeof stageDelay>>();
  return (lags: ReadonlyMap<string, readonly PartitionLag[]>, at: number): PipelineState => {
    const state = { at, delaySeconds: 0, progress: 1 };
    for (const [name, partitions] of lags) {
      const stage = stages.get(name) ?? stageDelay(windowMs);
      stages.set(name, stage);
      const { delayMs, progress } = stage(partitions, at);
      state.delaySeconds += delayMs / 1000;
      state.progress *= progress;
    }
    return state;
  };
}

function stageDelay(windowMs: number) {
  const endsOf = new Map<number, Sample[]>();
  const written: Sample[] = [];
  const finished: Sample[] = [];

  function remember(samples: Sample[], sample: Sample): void {
    // A recreated topic counts from 0 again.
    if (sample.value < (samples.at(-1)?.value ?? 0)) samples.length = 0;
    samples.push(sample);
  }

  return (partitions: readonly PartitionLag[], at: number) => {
    for (const { partition, end, committed } of partitions) {
      const ends = endsOf.get(partition) ?? [];
      remember(ends, { at, value: end });
      while (ends.length > MAX_HISTORY || (ends[1] && ends[1].value <= committed)) ends.shift();
      endsOf.set(partition, ends);
    }
    remember(written, { at, value: sum(partitions.map(({ end }) => end)) });
    remember(finished, { at, value: sum(partitions.map(({ committed }) => committed)) });
    for (const samples of [written, finished]) while ((samples[0]?.at ?? at) < at - windowMs) samples.shift();
    // Age of the oldest waiting record. A record from before the first sample counts from that sample.
    const ages = partitions
      .filter(({ lag }) => lag > 0)
      .map(({ partition, committed }) => at - writtenAt(endsOf.get(partition), committed, at));
    const [arriving, leaving] = [rateOf(written), rateOf(finished)];
    return { delayMs: Math.max(0, ...ages), progress: arriving > 0 ? leaving / arriving : 1 };
  };
}

/** When the record of an offset was written, by the samples of its partition's end. */
function writtenAt([before, after]: readonly Sample[] = [], offset: number, now: number): number {
  if (before && before.value > offset) return before.at;
  if (!before || !after) return now;
  const part = (offset - before.value) / Math.max(1, after.value - before.value);
  return before.at + part * (after.at - before.at);
}

/** Records a millisecond. With two or more changes it counts from the first to the last one: whole batches. */
function rateOf(samples: readonly Sample[]): number {
  const changes = samples.filter(({ value }, index) => index > 0 && value !== samples[index - 1]?.value);
  const [first, last] = changes.length > 1 ? [changes[0], changes.at(-1)] : [samples[0], samples.at(-1)];
  if (!first || !last || first === last) return 0;
  return (last.value - first.value) / (last.at - first.at);
}
