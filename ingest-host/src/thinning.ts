import { fairShares } from './fair-share.ts';
import type { PipelineState } from './pipeline-delay.ts';
import { sum } from './sum.ts';

export interface ThinningSettings {
  /** Bound of the time from capture to the stored object, seconds. */
  maxLatencySeconds: number;
  /** Frames a second that no stream goes below. */
  minFrameRate: number;
  /** How the stages make batches, which is a wait that no thinning shortens. */
  batchSize: number;
  batchSeconds: number;
}

/** The stages may have a frame for this part of the bound: the rest is for what they have in hand, and for surprises. */
const TARGET = 0.5;
/** A pipeline that has frames for less than this part of the target has time for more. */
const IDLE = 0.65;
/** Rates are means over at least this span, milliseconds. */
const MIN_WINDOW_MS = 10_000;
/** How much of a rate at most goes at once for a pipeline that is late. */
const MAX_CUT = 0.8;

/** The span that rates are means over, milliseconds. */
export function windowOf({ maxLatencySeconds }: Pick<ThinningSettings, 'maxLatencySeconds'>): number {
  return Math.max(MIN_WINDOW_MS, 1000 * maxLatencySeconds);
}

/**
 * Lets each live stream have as many frames as the pipeline can take within a bound of latency: fewer when the stages
 * are late, more again when they are not.
 */
export class Thinning {
  readonly #settings: ThinningSettings;
  readonly #gates = new Map<string, ThinningGate>();
  readonly #kept: { at: number; frames: number }[] = [];
  #isThinning = false;
  /** Whether frames have come out of the pipeline: before that nobody knows what it can take. */
  #isKnown = false;
  /** Whether it has had time ever since. */
  #isRising = true;
  #delaySeconds = 0;

  constructor(settings: ThinningSettings) {
    this.#settings = settings;
  }

  get isThinning(): boolean {
    return this.#isThinning;
  }

  /** How long frames take now behind ingest, seconds. */
  get delaySeconds(): number {
    return this.#delaySeconds;
  }

  /**
   * The gate of one stream, which stays the same while it is read again. A new one begins at the floor: all streams at once
   * would be more than a slow pipeline finishes within the bound.
   * @param stream.frameRate frames a second that it is sampled at
   */
  gate(streamId: string, stream: { priority?: number; frameRate: number }): ThinningGate {
    const { priority = 0, frameRate } = stream;
    const gate = this.#gates.get(streamId) ?? new ThinningGate(frameRate, this.#settings.minFrameRate);
    gate.priority = priority;
    this.#gates.set(streamId, gate);
    return gate;
  }

  forget(streamId: string): void {
    this.#gates.delete(streamId);
  }

  /** Takes how the pipeline stands, about once a second, and sets each stream's rate by it. */
  update(state: PipelineState): void {
    this.#delaySeconds = state.delaySeconds;
    const gates = [...this.#gates.values()];
    for (const gate of gates) gate.measure(state.at);
    const kept = this.#keptRate(gates, state.at);
    this.#isKnown ||= kept !== undefined && state.progress > 0;
    const total = this.#isKnown && kept !== undefined ? this.#next(state, kept) : this.#first(state);
    const demand = sum(gates.map(({ demand }) => demand));
    this.#isThinning = total < demand;
    if (!this.#isThinning) for (const gate of gates) gate.limit = undefined;
    else {
      const shares = fairShares(total, gates, this.#settings.minFrameRate);
      for (const [index, gate] of gates.entries()) gate.limit = shares[index];
    }
  }

  /** Frames a second for a pipeline that has given nothing yet: a batch is full within the bound, and no more wait too long. */
  #first({ delaySeconds }: PipelineState): number {
    const { maxLatencySeconds, batchSize } = this.#settings;
    return delaySeconds < TARGET * maxLatencySeconds ? batchSize / maxLatencySeconds : 0;
  }

  /** Frames a second: what the pipeline finishes, less while it is late, more while it has time. */
  #next({ delaySeconds, progress }: PipelineState, mean: number): number {
    const { maxLatencySeconds, batchSize, batchSeconds } = this.#settings;
    // Two stages wait for a batch to fill. At a low rate that is most of the latency, and fewer frames would make it worse.
    const filling = 2 * Math.min(batchSeconds, batchSize / mean);
    const target = Math.max(TARGET * maxLatencySeconds, filling);
    const change = 1 - Math.min(MAX_CUT, (delaySeconds - target) / (2 * target));
    const isIdle = progress > 0 && delaySeconds < IDLE * target;
    this.#isRising &&= isIdle;
    // At the start twice as much is tried each second, for as long as the stages have time.
    if (this.#isRising) return 2 * Math.max(mean, this.#latest());
    // The mean is late where more is tried each second.
    return change * (isIdle ? Math.max(mean * progress, mean, this.#latest()) : mean * progress);
  }

  /** Frames a second between the last two looks. */
  #latest(): number {
    const [before, last] = this.#kept.slice(-2);
    return before && last && last.at > before.at ? (1000 * last.frames) / (last.at - before.at) : 0;
  }

  #keptRate(gates: readonly ThinningGate[], at: number): number | undefined {
    this.#kept.push({ at, frames: sum(gates.map((gate) => gate.takeKept())) });
    while ((this.#kept[0]?.at ?? at) < at - windowOf(this.#settings)) this.#kept.shift();
    const [first, ...rest] = this.#kept;
    const frames = sum(rest.map(({ frames }) => frames));
    return first && frames > 0 ? (1000 * frames) / (at - first.at) : undefined;
  }
}

/** Of one stream's sampled pictures, those that become frames, evenly spaced. */
export class ThinningGate {
  priority = 0;
  readonly #frameRate: number;
  readonly #floor: number;
  #limit: number | undefined;
  /** A look has found pictures: before that, nobody knows when they begin, nor how many there are. */
  #isKnown = false;
  #demand = 0;
  #sampled = 0;
  #kept = 0;
  #credit = 1;
  #measuredAt: number | undefined;

  /** @param frameRate frames a second that it is sampled at @param floor those that it begins with */
  constructor(frameRate: number, floor: number) {
    this.#frameRate = frameRate;
    this.#floor = floor;
  }

  /** Frames a second that may pass; all of them without it. */
  get limit(): number | undefined {
    return this.#isKnown ? this.#limit : this.#floor;
  }

  set limit(limit: number | undefined) {
    this.#limit = limit;
  }

  /** Frames a second that the source has, of late. */
  get demand(): number {
    return this.#demand;
  }

  /** Whether a sampled picture is kept. */
  passes(): boolean {
    this.#sampled += 1;
    const { limit } = this;
    const rate = this.#isKnown ? this.#demand : this.#frameRate;
    this.#credit = Math.min(1, this.#credit) + (limit === undefined || rate === 0 ? 1 : limit / rate);
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    this.#kept += 1;
    return true;
  }

  takeKept(): number {
    const kept = this.#kept;
    this.#kept = 0;
    return kept;
  }

  measure(at: number): void {
    if (!this.#isKnown) {
      this.#isKnown = this.#sampled > 0;
      if (this.#isKnown) this.#demand = this.#frameRate;
    } else if (this.#measuredAt !== undefined && at > this.#measuredAt) {
      const rate = (1000 * this.#sampled) / (at - this.#measuredAt);
      this.#demand += 0.3 * (rate - this.#demand);
    }
    this.#sampled = 0;
    this.#measuredAt = at;
  }
}
