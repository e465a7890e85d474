import { join } from 'node:path';
import { within } from '@video-pipeline/telemetry';
import { startChild } from './child.ts';
import { type LocalServer, StartError } from './processes.ts';
import { type Service, supervise } from './supervise.ts';

/** The root of the repository: our processes are started by their path in it. */
export const ROOT = join(import.meta.dirname, '../../../..');

export interface LauncherHooks {
  /** Takes a line for the person at the screen. */
  note: (line: string) => void;
  /** Takes each line that a process of ours writes to stdout. */
  onLine: (line: string) => void;
  /** Takes the process id of a service each time it is started. */
  onStart: (name: string, pid: number) => void;
}

/** What a Node process of ours is started with. */
export interface Inputs {
  args?: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** Resolves when what it needs is there, with variables known only then: until that it loads, and no more. */
  begin?: () => Promise<NodeJS.ProcessEnv | undefined>;
}

/** Whatever still runs so long after the stop began is killed. */
const STOP_MS = 3_600;
/**
 * The order of the stop, so that nothing loses what it talks to while it finishes; and until when each may take, ms. At the
 * `ends` frames come in and are looked at.
 */
const STOP_ORDER = { ends: 1_200, stages: 2_600, model: 2_800, servers: STOP_MS } as const;

/** Where in the pipeline a service stands. */
export type Place = keyof typeof STOP_ORDER;

/** Starts the services of a stack, keeps them running, and stops them in order. */
export class Launcher {
  readonly services: Service[] = [];
  readonly #places = new Map<Service, Place>();
  readonly #dataDir: string;
  readonly #hooks: LauncherHooks;
  #isStopping = false;
  readonly #stopping = Promise.withResolvers<never>();

  constructor(dataDir: string, hooks: LauncherHooks) {
    this.#dataDir = dataDir;
    this.#hooks = hooks;
    this.#stopping.promise.catch(() => {});
  }

  /** @throws what `launch` throws the first time */
  async run(
    name: string,
    place: Place,
    launch: (stop: AbortSignal) => Promise<LocalServer>,
    isDone?: (saidSo: boolean) => Promise<boolean>,
  ): Promise<Service> {
    const { note, onStart } = this.#hooks;
    const service = await supervise({
      name,
      launch,
      note,
      onStart: (pid) => onStart(name, pid),
      ...(isDone ? { isDone } : {}),
    });
    this.services.push(service);
    this.#places.set(service, place);
    // Told to stop meanwhile: what stop() could not see yet ends here.
    if (this.#isStopping) await service.kill();
    else note(`${name} is up`);
    return service;
  }

  /**
   * Runs a Node process of ours.
   * @param inputs asked anew at each start
   * @param isDone asked when it ended with exit code 0, or said that it is finished
   * @throws StartError
   */
  node(
    name: string,
    place: Place,
    script: string,
    inputs: () => Inputs | Promise<Inputs>,
    isDone?: (saidSo: boolean) => Promise<boolean>,
  ): Promise<Service> {
    const launch = async (stop: AbortSignal) => {
      const { begin, ...given } = await inputs();
      return startChild({
        name,
        script: join(ROOT, script),
        ...given,
        // What is still held back when the stop begins has nothing to finish.
        begin: begin && (() => Promise.race([begin(), this.#stopping.promise])),
        pidFile: join(this.#dataDir, 'run', `${name}.pid`),
        logFile: join(this.#dataDir, 'logs', `${name}.log`),
        onLine: this.#hooks.onLine,
        stop,
      });
    };
    return this.run(name, place, launch, isDone);
  }

  /** Ends everything within {@link STOP_MS} and a little: in order, and then by force. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#stopping.reject(new StartError('was told to stop'));
    const began = performance.now();
    // Nobody talks to what is only starting again.
    for (const service of this.services) if (service.state === 'restarting') void service.stop();
    for (const [place, until] of Object.entries(STOP_ORDER)) {
      const those = this.services.filter((service) => this.#places.get(service) === place);
      const left = Math.max(0, Math.ceil(until - (performance.now() - began)));
      await within(left, Promise.all(those.map((service) => service.stop()))).catch(() => {});
    }
    await Promise.all(this.services.map((service) => service.kill()));
  }
}
