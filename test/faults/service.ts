import { setTimeout as sleep } from 'node:timers/promises';
import { signalProcess } from '@video-pipeline/local';

/** A process as the starters of `packages/local` give it. */
interface Started {
  pid: number;
  exited: Promise<string>;
  stop(): Promise<void>;
}

/** How long a process that ended is away before it is started again, as by a supervisor, milliseconds. */
const AWAY_MS = 500;

/** A process that is started again whenever it ends, as ECS, Kubernetes or `npm start` do. */
export class Service {
  readonly #begin: () => Promise<Started>;
  #current: Started | undefined;
  #isStopped = false;
  #running: Promise<void> = Promise.resolve();

  /** @param begin starts the process and resolves once it does its work */
  constructor(begin: () => Promise<Started>) {
    this.#begin = begin;
  }

  /** Of the process that runs now. */
  get pid(): number | undefined {
    return this.#current?.pid;
  }

  async start(): Promise<void> {
    const started = await this.#begin();
    this.#current = started;
    void started.exited.then(() => {
      this.#current = undefined;
      if (!this.#isStopped) this.#running = this.#startAgain();
    });
  }

  /** Ends it at once, by kill -9, as soon as it runs; it comes back by itself. */
  async kill(): Promise<void> {
    await this.running();
    this.#signal('SIGKILL');
  }

  /** Tells it to end in order, and waits until it is back. */
  async restart(): Promise<void> {
    await this.running();
    const former = this.#current;
    this.#signal('SIGTERM');
    await former?.exited;
    await this.running();
  }

  /** It neither works nor answers for a while, and keeps its connections. */
  async freeze(ms: number): Promise<void> {
    await this.running();
    const frozen = this.#current;
    this.#signal('SIGSTOP');
    await sleep(ms);
    if (frozen && frozen === this.#current) this.#signal('SIGCONT');
  }

  /** Resolves once the process that runs now has ended, of whatever. */
  async ended(): Promise<void> {
    await this.running();
    await this.#current?.exited;
  }

  /** Resolves once it does its work. */
  async running(): Promise<void> {
    while (!this.#current && !this.#isStopped) {
      await this.#running;
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    this.#signal('SIGCONT');
    await this.#current?.stop();
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#current) signalProcess(this.#current.pid, signal);
  }

  async #startAgain(): Promise<void> {
    while (!this.#isStopped) {
      await sleep(AWAY_MS);
      // What it needs may be away as well.
      const started = await this.start().then(
        () => true,
        () => false,
      );
      if (started) return;
    }
  }
}
