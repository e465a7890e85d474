import type { PartitionLag } from '@video-pipeline/kafka';
import { sum } from './sum.ts';

/** How the stages behind ingest stand. */
export interface PipelineState {
  /** As `performance.now` tells it. */
  at: number;
  /** How long the oldest frame has waited that a stage has yet to finish, of all stages together, seconds. */
  delaySeconds: number;
  /** Frames finished for each that came, over the last seconds; 1 where none came. */
  progress: number;
}

/** Oldest offsets remembered, as long as no stage is further behind. */
const MAX_HISTORY = 600;

interface Sample {
  at: number;
  value: number;
}

/**
 * Tells from the offsets of topics and consumer groups, looked at again and again, how long frames take on their way. A
 * record was written between the two looks that it lies between, so nothing need be read, and any Kafka will do.
 */
export class PipelineDelay {
  readonly #stages = new Map<string, StageDelay>();
  readonly #windowMs: number;

  /** @param windowMs span that rates are means over, milliseconds: several batches, which a stage finishes as a whole */
  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /**
   * @param lags of each stage, by partition
   * @param at when they were read, as `performance.now` tells it
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
      // A topic that was made anew counts from 0.
      if (end < (ends.at(-1)?.value ?? 0)) ends.length = 0;
      ends.push({ at, value: end });
      while (ends.length > MAX_HISTORY || (ends[1] && ends[1].value <= committed)) ends.shift();
      this.#ends.set(partition, ends);
    }
    this.#remember(this.#written, { at, value: sum(partitions.map(({ end }) => end)) });
    this.#remember(this.#finished, { at, value: sum(partitions.map(({ committed }) => committed)) });
  }

  /** Age of the oldest record that waits; one from before the first look counts from there. */
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
    // A topic that was made anew counts from 0.
    if (sample.value < (samples.at(-1)?.value ?? 0)) samples.length = 0;
    samples.push(sample);
    while ((samples[0]?.at ?? sample.at) < sample.at - this.#windowMs) samples.shift();
  }
}

/** Records a millisecond: from one change to another, so that whole batches are counted, where there are two. */
function rateOf(samples: readonly Sample[]): number {
  const changes = samples.filter(({ value }, index) => index > 0 && value !== samples[index - 1]?.value);
  const [first, last] = changes.length > 1 ? [changes[0], changes.at(-1)] : [samples[0], samples.at(-1)];
  if (!first || !last || first === last) return 0;
  return (last.value - first.value) / (last.at - first.at);
}
