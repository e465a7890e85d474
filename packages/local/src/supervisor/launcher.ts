import { join } from 'node:path';
import { withTimeout } from '@video-pipeline/telemetry';
import { ROOT } from '../lightweight.ts';
import { type ChildProgram, startChild } from './child.ts';
import { type LocalServer, StartError } from './processes.ts';
import { type Service, supervise } from './supervise.ts';

export interface LauncherHooks {
  /** Receives a line for the user. */
  note: (line: string) => void;
  /** Receives each line that a process writes to stdout. */
  onLine: (line: string) => void;
  /** Receives the process id of a service at each start. */
  onStart: (name: string, pid: number) => void;
}

/** Services that still run this long after the stop began are killed, milliseconds. */
const STOP_MS = 3_600;
/**
 * Order of the stop: a service ends before those that it needs. Each value is how long after the start of the stop the
 * services of that phase must have ended, milliseconds. `ends` are the two ends of the pipeline: cameras,
 * ingest and console.
 */
const STOP_PHASES = { ends: 1_200, stages: 2_600, model: 2_800, servers: STOP_MS } as const;

export type StopPhase = keyof typeof STOP_PHASES;

/** Starts the services of a stack, keeps them running, and stops them in order. */
export class Launcher {
  readonly services: Service[] = [];
  readonly #phases = new Map<Service, StopPhase>();
  readonly #dataDir: string;
  readonly #hooks: LauncherHooks;
  /** Starts that are not finished. */
  readonly #starting = new Set<Promise<Service>>();
  /** Aborts when the stop begins. */
  readonly #stop = new AbortController();

  constructor(dataDir: string, hooks: LauncherHooks) {
    this.#dataDir = dataDir;
    this.#hooks = hooks;
  }

  /** @throws the error of the first `launch` */
  async run(
    name: string,
    phase: StopPhase,
    launch: (stop: AbortSignal) => Promise<LocalServer>,
    isDone?: (saidSo: boolean) => Promise<boolean>,
  ): Promise<Service> {
    const { note, onStart } = this.#hooks;
    const stopping = this.#stop.signal;
    if (stopping.aborted) throw new StartError('was told to stop');
    const starting = supervise({
      name,
      launch: (stop) => launch(AbortSignal.any([stop, stopping])),
      note,
      onStart: (pid) => onStart(name, pid),
      ...(isDone ? { isDone } : {}),
    });
    this.#starting.add(starting);
    const service = await starting.finally(() => this.#starting.delete(starting));
    this.services.push(service);
    this.#phases.set(service, phase);
    // A stop may have begun before it knew this service: the service ends here.
    if (stopping.aborted) await service.kill();
    else note(`${name} is up`);
    return service;
  }

  /**
   * Runs a Node process of the pipeline.
   * @param inputs its `begin` is called at each start
   * @param isDone called when the process ended with exit code 0, or reported that it is finished
   * @throws StartError
   */
  node(
    name: string,
    phase: StopPhase,
    script: string,
    inputs: Pick<ChildProgram, 'args' | 'env' | 'begin' | 'inBackground' | 'semiSpaceMiB'>,
    isDone?: (saidSo: boolean) => Promise<boolean>,
  ): Promise<Service> {
    const launch = (stop: AbortSignal) =>
      startChild({
        name,
        script: join(ROOT, script),
        ...inputs,
        pidFile: join(this.#dataDir, 'run', `${name}.pid`),
        logFile: join(this.#dataDir, 'logs', `${name}.log`),
        onLine: this.#hooks.onLine,
        stop,
      });
    return this.run(name, phase, launch, isDone);
  }

  /** Ends everything within slightly more than {@link STOP_MS}: in order, and then by force. */
  async stop(): Promise<void> {
    this.#stop.abort();
    const began = performance.now();
    // A process that is still loading notices neither a signal nor the end of this process: its start kills it.
    const unstarted = Promise.allSettled(this.#starting);
    // No other service uses one that is starting again.
    for (const service of this.services) if (service.state === 'restarting') void service.stop();
    for (const [phase, until] of Object.entries(STOP_PHASES)) {
      const those = this.services.filter((service) => this.#phases.get(service) === phase);
      const remaining = Math.max(0, Math.ceil(until - (performance.now() - began)));
      await withTimeout(remaining, Promise.all(those.map((service) => service.stop()))).catch(() => {});
    }
    await Promise.all([unstarted, ...this.services.map((service) => service.kill())]);
  }
}
