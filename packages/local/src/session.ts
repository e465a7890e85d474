import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeWhole } from '@video-pipeline/assets/cache';
import { HealthWatch, type PartHealth, withLowRates } from '@video-pipeline/telemetry';
import { stackProbes } from './health.ts';
import { stateFile } from './lightweight.ts';
import { watchDisk } from './retention.ts';
import { Counts, type Latency, type StreamCounts, type StreamView } from './screen/counts.ts';
import { type Usage, UsageMeter } from './screen/usage.ts';
import { hasFrameLimit, type StackOptions } from './services.ts';
import type { Source } from './sources.ts';
import { type Endpoints, type Stack, startStack } from './stack.ts';
import { sum } from './sum.ts';
import { aborted, StartError } from './supervisor/processes.ts';
import type { ServiceState } from './supervisor/supervise.ts';

/** Summary of a finished run. `--json` prints it as it is. */
export interface Summary {
  /** Frames of this run by stream, and all of them as `total`. */
  frames: Record<string, StreamCounts>;
  /** Annotated frames a second, from the start of ingest to the end. */
  fps: number;
  latency_ms: Latency;
  processes: Record<string, Usage>;
  duration_seconds: number;
  /** Address of the annotated frames. */
  output: string;
  /** Why a stream gave no frame. Absent if each stream gave some. */
  error?: string;
}

/** State of the pipeline. While a supervisor runs, `run/state.json` holds it. */
export interface State {
  pid: number;
  /** Epoch milliseconds. */
  started_at: number;
  updated_at: number;
  endpoints: Endpoints;
  /** The demo cameras, if they are used. */
  cameras: Source[];
  services: Record<string, { state: ServiceState; pid?: number; restarts: number }>;
  streams: Record<string, StreamView>;
  /** Lag of each stage that frames pass through, in order; `null` while Kafka doesn't answer. */
  lag: Record<string, number> | null;
  latency_ms: Latency;
  /** Whether each part answers, and since when: Kafka, S3, the model, ingest, each stage, the console. */
  health: Readonly<Record<string, PartHealth>>;
}

interface SessionHooks {
  note: (line: string) => void;
  /** Receives the state of the pipeline once a second. */
  show: (state: State) => void;
  /** Receives the address of the console once it answers. */
  onConsole: (url: string) => void;
}

const TICK_MS = 1_000;
const STALL_MS = 60_000;

/**
 * Runs the pipeline until its work is done, or `signal` aborts. With `frames`, the work is done once that many frames
 * are annotated or in `failed/`. With video files alone, it is done once all their frames are. Otherwise it never ends.
 * @throws the errors of {@link startStack}; StartError for a run that makes no progress, naming the stage at fault
 */
export const runSession = (options: StackOptions, hooks: SessionHooks, signal: AbortSignal) =>
  new Session(options, hooks).run(signal);

class Session {
  readonly #options: StackOptions;
  readonly #hooks: SessionHooks;
  readonly #counts = new Counts();
  readonly #usage = new UsageMeter();
  #startedAt = Date.now();
  /** The same time by the monotonic clock. */
  #began = performance.now();
  #failure: string | undefined;
  #lag: State['lag'] = null;

  constructor(options: StackOptions, hooks: SessionHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#usage.track('supervisor', process.pid);
  }

  async run(signal: AbortSignal): Promise<Summary> {
    const hooks = {
      note: this.#hooks.note,
      onLine: (line: string) => this.#counts.add(line),
      onStart: (name: string, pid: number) => this.#usage.track(name, pid),
    };
    const stack = await startStack(this.#options, hooks, signal);
    const ended = new AbortController();
    const until = AbortSignal.any([signal, ended.signal]);
    void watchDisk(this.#options, this.#hooks.note, until);
    try {
      await Promise.race([this.#work(stack, until), this.#watch(stack, until)]);
      await this.#usage.sample();
    } finally {
      ended.abort();
      this.#hooks.note('stopping');
      await stack.stop();
    }
    return this.#summary(stack);
  }

  async #work(stack: Stack, signal: AbortSignal): Promise<void> {
    const finite = this.#mustEnd();
    if (finite) {
      await stack.stagesUp;
      await this.#finishBacklog(stack, signal);
    }
    if (signal.aborted) return;
    this.#counts.reset(stack.sources.map(({ id }) => id));
    this.#startedAt = Date.now();
    this.#began = performance.now();
    this.#hooks.note(`annotated frames: ${stack.endpoints.output}`);
    const [ingest] = await Promise.all([stack.startIngest?.(), this.#startRest(stack)]);
    if (!ingest) return aborted(signal);
    await Promise.race([ingest.finished, aborted(signal)]);
    this.#failure = ingest.failure;
    await stack.backlog.drained(signal);
  }

  /** Starts the parts that frames do not need. */
  async #startRest({ stagesUp, startConsole, startCompactor, endpoints }: Stack): Promise<void> {
    await stagesUp;
    await startConsole?.();
    if (endpoints.console) this.#hooks.onConsole(endpoints.console);
    await startCompactor?.();
  }

  // Frames that an earlier run left in Kafka must not count as frames of this run.
  async #finishBacklog(stack: Stack, signal: AbortSignal): Promise<void> {
    const waiting = sum(Object.values(await stack.backlog.lag()));
    if (waiting === 0) return;
    this.#hooks.note(`finishing ${waiting} frames that an earlier run left`);
    await stack.backlog.drained(signal);
    await sleep(TICK_MS / 2); // their last metrics are on the way
  }

  async #watch(stack: Stack, signal: AbortSignal): Promise<void> {
    await Promise.race([stack.stagesUp, aborted(signal)]);
    let progress = '';
    let progressAt = performance.now();
    const { note } = this.#hooks;
    const probes = stackProbes(stack, (lag) => (this.#lag = lag));
    const health = new HealthWatch(probes, { info: note, warn: note });
    signal.addEventListener('abort', () => health.stop(), { once: true });
    while (!signal.aborted) {
      await this.#usage.sample();
      if (signal.aborted) return;
      if (health.isAway('kafka')) this.#lag = null;
      const state = this.#state(stack, withLowRates(health.parts, this.#counts.lowRates.current()));
      this.#hooks.show(state);
      // A full disk must not end the pipeline, which may go on, or recover once there is room.
      await saveState(this.#options.dataDir, state).catch(() => {});
      const now = JSON.stringify([this.#counts.total(), this.#lag]);
      if (now !== progress) progressAt = performance.now();
      progress = now;
      if (performance.now() - progressAt > STALL_MS && this.#mustEnd())
        throw new StartError(this.#stalled(stack));
      await sleep(TICK_MS, undefined, { signal }).catch(() => {});
    }
  }

  #mustEnd(): boolean {
    return this.#options.ingest && hasFrameLimit(this.#options);
  }

  #stalled(stack: Stack): string {
    const [stage = 'ingest'] = this.#lag
      ? (Object.entries(this.#lag).findLast(([, records]) => records > 0) ?? [])
      : [stack.services.find(({ name }) => name.startsWith('kafka'))?.name ?? 'kafka'];
    const down = stack.services.filter(({ state }) => state === 'restarting').map(({ name }) => name);
    const also = down.length > 0 ? `; not running: ${down.join(', ')}` : '';
    const log = join(this.#options.dataDir, 'logs', `${stage}.log`);
    return `no progress for ${STALL_MS / 1000} s in ${stage}${also}; see ${log}`;
  }

  #state(stack: Stack, health: State['health']): State {
    const services = stack.services.map(
      ({ name, state, pid, restarts }) => [name, { state, ...(pid ? { pid } : {}), restarts }] as const,
    );
    return {
      pid: process.pid,
      started_at: this.#startedAt,
      updated_at: Date.now(),
      endpoints: stack.endpoints,
      cameras: stack.isDemo ? [...stack.sources] : [],
      services: Object.fromEntries(services),
      streams: this.#counts.streams(),
      lag: this.#lag,
      latency_ms: this.#counts.latency(),
      health,
    };
  }

  #summary(stack: Stack): Summary {
    const duration = (performance.now() - this.#began) / 1000;
    const streams = Object.entries(this.#counts.streams()).map(([id, view]) => {
      const { fps: _fps, latency: _latency, reconnects: _reconnects, ...counts } = view;
      return [id, counts] as const;
    });
    const total = this.#counts.total();
    return {
      frames: { ...Object.fromEntries(streams), total },
      fps: Math.round((total.annotated / duration) * 100) / 100,
      latency_ms: this.#counts.latency(),
      processes: this.#usage.report(),
      duration_seconds: Math.round(duration * 100) / 100,
      output: stack.endpoints.output,
      ...(this.#failure ? { error: this.#failure } : {}),
    };
  }
}

async function saveState(dataDir: string, state: State): Promise<void> {
  await writeWhole(stateFile(dataDir), (partial) => writeFile(partial, JSON.stringify(state)));
}
