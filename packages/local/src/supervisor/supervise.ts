import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from './child.ts';
import type { LocalServer } from './processes.ts';

export type ServiceState = 'running' | 'restarting' | 'finished' | 'stopped';

/** A process that is started again whenever it ends, until it is stopped. */
export type Service = Readonly<
  Pick<Supervised, 'name' | 'state' | 'pid' | 'restarts' | 'finished' | 'failure' | 'stop' | 'kill'>
>;

interface SuperviseOptions {
  name: string;
  /** Starts it. Once `stop` aborts, it ends what has begun, and throws. */
  launch: (stop: AbortSignal) => Promise<LocalServer & Partial<Pick<Child, 'lastError' | 'isFinished'>>>;
  /** Receives a line for the user. */
  note: (line: string) => void;
  onStart?: (pid: number) => void;
  /**
   * Called when it ended with exit code 0, or reported that it is finished. Resolves to whether its work is done. If
   * not, or if this is left out, it is started again.
   */
  isDone?: (saidSo: boolean) => Promise<boolean>;
  firstDelayMs?: number;
}

const MAX_DELAY_MS = 30_000;
/** A process that ran this long has recovered: the next delay is the first one again. */
const RECOVERED_MS = 60_000;

/** Starts a process, and restarts it when it ends unasked, after growing delays. @throws the first `launch`'s error */
export async function supervise(options: SuperviseOptions): Promise<Service> {
  const service = new Supervised(options);
  await service.begin();
  return service;
}

class Supervised {
  readonly #options: SuperviseOptions;
  readonly #stopping = new AbortController();
  readonly #finish = Promise.withResolvers<void>();
  /** Resolves when the process has ended with its work done. */
  readonly finished = this.#finish.promise;
  #server: Awaited<ReturnType<SuperviseOptions['launch']>> | undefined;
  #watching: Promise<void> = Promise.resolve();
  #state: ServiceState = 'running';
  restarts = 0;
  /** The error that it printed last, once it is finished with an exit code other than 0. */
  failure: string | undefined;

  constructor(options: SuperviseOptions) {
    this.#options = options;
  }

  /** A process whose work is done no longer answers, although it takes a while to end. */
  get state(): ServiceState {
    return this.#state === 'running' && this.#server?.isFinished?.() ? 'finished' : this.#state;
  }

  get name(): string {
    return this.#options.name;
  }

  get pid(): number | undefined {
    return this.#server?.pid;
  }

  async begin(): Promise<void> {
    await this.#launch();
    this.#watching = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#endCurrent();
    await this.#watching;
  }

  async kill(): Promise<void> {
    this.#stopping.abort();
    await this.#server?.kill();
    await this.#watching;
  }

  async #endCurrent(): Promise<void> {
    await this.#server?.stop();
  }

  async #launch(): Promise<void> {
    this.#server = await this.#options.launch(this.#stopping.signal);
    this.#state = 'running';
    this.#options.onStart?.(this.#server.pid);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    const { note, isDone, firstDelayMs = 500 } = this.#options;
    let delay = firstDelayMs;
    while (true) {
      const began = performance.now();
      const how = await this.#server?.exited;
      if (signal.aborted) break;
      const saidSo = this.#server?.isFinished?.() ?? false;
      if ((how === '0' || saidSo) && (await isDone?.(saidSo))) {
        if (how !== '0') this.failure = this.#server?.lastError?.();
        this.#state = 'finished';
        this.#finish.resolve();
        return;
      }
      if (performance.now() - began > RECOVERED_MS) delay = firstDelayMs;
      note(this.#endMessage(how, delay));
      this.#state = 'restarting';
      this.#server = undefined;
      await sleep(delay, undefined, { signal }).catch(() => {});
      if (signal.aborted) break;
      delay = Math.min(delay * 2, MAX_DELAY_MS);
      this.restarts++;
      await this.#launch().catch((error) => signal.aborted || note(error.message));
      // A stop may have begun before it knew this process: the process ends here.
      if (signal.aborted) await this.#endCurrent();
    }
    this.#state = 'stopped';
  }

  #endMessage(how: string | undefined, delay: number): string {
    const { name } = this.#options;
    if (how === undefined) return `${name} failed to start, trying again in ${delay / 1000} s`;
    const error = this.#server?.lastError?.();
    return `${name} ended (${how}), starting it again in ${delay / 1000} s${error ? `: ${error}` : ''}`;
  }
}
