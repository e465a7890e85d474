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
 */
export class PipelineDelay {
  readonly #stages = new Map<string, StageDelay>();
  readonly #windowMs: number;

  /** @param windowMs span for mean rates, milliseconds; several batches, as a stage finishes a batch as a whole */
  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /**
   * @param lags the lags of each stage's partitions
   * @param at time of the sample, by `performance.now`
   */
  add(lags: ReadonlyMap<string, readonly PartitionLag[]>, at: number): PipelineState {
    let delaySeconds = 0;
    let progress = 1;
    for (const [name, partitions] of lags) {
      const stage = this.#stages.get(name) ?? new StageDelay(this.#windowMs);
      this.#stages.set(name, stage);
      stage.add(partitions, at);
      delaySeconds += stage.delayMs(at) / 1000;
      progress *= stage.progress();
    }
    return { at, delaySeconds, progress };
  }
}

class StageDelay {
  readonly #ends = new Map<number, Sample[]>();
  readonly #written: Sample[] = [];
  readonly #finished: Sample[] = [];
  readonly #windowMs: number;
  #partitions: readonly PartitionLag[] = [];

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  add(partitions: readonly PartitionLag[], at: number): void {
    this.#partitions = partitions;
    for (const { partition, end, committed } of partitions) {
      const ends = this.#ends.get(partition) ?? [];
      // A recreated topic counts from 0 again.
      if (end < (ends.at(-1)?.value ?? 0)) ends.length = 0;
      ends.push({ at, value: end });
      while (ends.length > MAX_HISTORY || (ends[1] && ends[1].value <= committed)) ends.shift();
      this.#ends.set(partition, ends);
    }
    this.#remember(this.#written, { at, value: sum(partitions.map(({ end }) => end)) });
    this.#remember(this.#finished, { at, value: sum(partitions.map(({ committed }) => committed)) });
  }

  /** Age of the oldest waiting record. A record from before the first sample counts from that sample. */
  delayMs(at: number): number {
    const waiting = this.#partitions.filter(({ lag }) => lag > 0);
    return Math.max(
      0,
      ...waiting.map(({ partition, committed }) => at - this.#writtenAt(partition, committed, at)),
    );
  }

  #writtenAt(partition: number, offset: number, now: number): number {
    const [before, after] = this.#ends.get(partition) ?? [];
    if (!before || !after) return before && before.value > offset ? before.at : now;
    if (before.value > offset) return before.at;
    const part = (offset - before.value) / Math.max(1, after.value - before.value);
    return before.at + part * (after.at - before.at);
  }

  progress(): number {
    const [written, finished] = [rateOf(this.#written), rateOf(this.#finished)];
    return written > 0 ? finished / written : 1;
  }

  #remember(samples: Sample[], sample: Sample): void {
    // A recreated topic counts from 0 again.
    if (sample.value < (samples.at(-1)?.value ?? 0)) samples.length = 0;
    samples.push(sample);
    while ((samples[0]?.at ?? sample.at) < sample.at - this.#windowMs) samples.shift();
  }
}

/** Records a millisecond. With two or more changes it counts from the first to the last one: whole batches. */
function rateOf(samples: readonly Sample[]): number {
  const changes = samples.filter(({ value }, index) => index > 0 && value !== samples[index - 1]?.value);
  const [first, last] = changes.length > 1 ? [changes[0], changes.at(-1)] : [samples[0], samples.at(-1)];
  if (!first || !last || first === last) return 0;
  return (last.value - first.value) / (last.at - first.at);
}
