import { fairShares } from './fair-share.ts';
import type { PipelineState } from './pipeline-delay.ts';
import { sum } from './sum.ts';

interface ThinningSettings {
  /** Longest time from capture to the stored object, seconds. */
  maxLatencySeconds: number;
  /** Least frames a second of each stream. */
  minFrameRate: number;
  /** Batch size of the stages. Thinning can't shorten the wait until a batch is full. */
  batchSize: number;
  batchSeconds: number;
}

/** Share of the bound that a frame may wait. The rest is for processing, and a reserve. */
const TARGET = 0.5;
/** A pipeline whose delay is below this share of the target has capacity for more frames. */
const IDLE = 0.65;
/** Rates are means over at least this span, milliseconds. */
const MIN_WINDOW_MS = 10_000;
/** Largest share by which a rate is cut at once when the pipeline is late. */
const MAX_CUT = 0.8;

/** The span for mean rates, milliseconds. */
export function windowOf({ maxLatencySeconds }: Pick<ThinningSettings, 'maxLatencySeconds'>): number {
  return Math.max(MIN_WINDOW_MS, 1000 * maxLatencySeconds);
}

/** Limits the frames of each live stream so that the pipeline keeps its latency bound (backpressure). */
export class Thinning {
  readonly #settings: ThinningSettings;
  readonly #gates = new Map<string, ThinningGate>();
  readonly #kept: { at: number; frames: number }[] = [];
  isThinning = false;
  /** Whether the pipeline has finished frames. Before that its capacity is unknown. */
  #isKnown = false;
  /** Whether the pipeline has had spare capacity since the start. */
  #isRising = true;
  /** Current delay after ingest. */
  delaySeconds = 0;

  constructor(settings: ThinningSettings) {
    this.#settings = settings;
  }

  /**
   * The gate of one stream; the same one after a reload. A new gate starts at the floor: all streams at full rate could
   * be more than a slow pipeline finishes within the bound.
   * @param stream.frameRate sampled frames a second
   */
  gate(streamId: string, stream: { priority?: number | undefined; frameRate: number }): ThinningGate {
    const { priority = 0, frameRate } = stream;
    const gate = this.#gates.get(streamId) ?? new ThinningGate(frameRate, this.#settings.minFrameRate);
    gate.priority = priority;
    this.#gates.set(streamId, gate);
    return gate;
  }

  forget(streamId: string): void {
    this.#gates.delete(streamId);
  }

  /** Sets each stream's limit from the state of the pipeline; called about once a second. */
  update(state: PipelineState): void {
    this.delaySeconds = state.delaySeconds;
    const gates = [...this.#gates.values()];
    for (const gate of gates) gate.measure(state.at);
    const kept = this.#keptRate(gates, state.at);
    this.#isKnown ||= kept !== undefined && state.progress > 0;
    const total = this.#isKnown && kept !== undefined ? this.#next(state, kept) : this.#first(state);
    const demand = sum(gates.map(({ demand }) => demand));
    this.isThinning = total < demand;
    if (!this.isThinning) for (const gate of gates) gate.limit = undefined;
    else {
      const shares = fairShares(total, gates, this.#settings.minFrameRate);
      for (const [index, gate] of gates.entries()) gate.limit = shares[index];
    }
  }

  /** Frames a second before the pipeline has finished any: one batch fills within the bound; no more if it is late. */
  #first({ delaySeconds }: PipelineState): number {
    const { maxLatencySeconds, batchSize } = this.#settings;
    return delaySeconds < TARGET * maxLatencySeconds ? batchSize / maxLatencySeconds : 0;
  }

  /** Frames a second: as many as the pipeline finishes; fewer while it is late, more while it has capacity. */
  #next({ delaySeconds, progress }: PipelineState, mean: number): number {
    const { maxLatencySeconds, batchSize, batchSeconds } = this.#settings;
    // Two stages wait until a batch is full. At a low rate this is most of the latency, and fewer frames would increase
    // it.
    const filling = 2 * Math.min(batchSeconds, batchSize / mean);
    const target = Math.max(TARGET * maxLatencySeconds, filling);
    const change = 1 - Math.min(MAX_CUT, (delaySeconds - target) / (2 * target));
    const isIdle = progress > 0 && delaySeconds < IDLE * target;
    this.#isRising &&= isIdle;
    // At the start the rate doubles each second while the stages have capacity.
    if (this.#isRising) return 2 * Math.max(mean, this.#latest());
    // The mean lags behind while the rate doubles: the latest rate counts too.
    return change * (isIdle ? Math.max(mean * progress, mean, this.#latest()) : mean * progress);
  }

  /** Frames a second between the last two updates. */
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

/** Chooses which sampled pictures of a stream become frames, evenly spaced. */
export class ThinningGate {
  priority = 0;
  readonly #frameRate: number;
  readonly #floor: number;
  #limit: number | undefined;
  /** Undefined until pictures have been measured. Before that, neither their number nor their start is known. */
  #demand: number | undefined;
  #sampled = 0;
  #kept = 0;
  #credit = 1;
  #measuredAt: number | undefined;

  /** @param frameRate sampled frames a second @param floor initial limit, frames a second */
  constructor(frameRate: number, floor: number) {
    this.#frameRate = frameRate;
    this.#floor = floor;
  }

  /** Frames a second that may pass; undefined: all. */
  get limit(): number | undefined {
    return this.#demand === undefined ? this.#floor : this.#limit;
  }

  set limit(limit: number | undefined) {
    this.#limit = limit;
  }

  /** Recent sampled frames a second of the source. */
  get demand(): number {
    return this.#demand ?? 0;
  }

  /** Whether a sampled picture is kept. */
  passes(): boolean {
    this.#sampled += 1;
    const { limit } = this;
    const rate = this.#demand ?? this.#frameRate;
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
    if (this.#demand === undefined) {
      if (this.#sampled > 0) this.#demand = this.#frameRate;
    } else if (this.#measuredAt !== undefined && at > this.#measuredAt) {
      const rate = (1000 * this.#sampled) / (at - this.#measuredAt);
      this.#demand += 0.3 * (rate - this.#demand);
    }
    this.#sampled = 0;
    this.#measuredAt = at;
  }
}
