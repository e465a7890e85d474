import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
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
/** By a shell, so that the process wakes and ends by itself whatever becomes of us. */
const FREEZE = 'kill -STOP "$1"; sleep "$2"; kill -CONT "$1"';

const services = new Set<Service>();

/** Ends every service at once, by kill -9, also those that are frozen or only starting; none comes back. */
export async function endServices(): Promise<void> {
  await Promise.all([...services].map((service) => service.end()));
}

/** A process that is started again whenever it ends, as ECS, Kubernetes or `npm start` do. */
export class Service {
  readonly #begin: (stop: AbortSignal) => Promise<Started>;
  readonly #stopping = new AbortController();
  #current: Started | undefined;
  readonly #freezers = new Set<ChildProcess>();
  #starting: Promise<unknown> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();

  /** @param begin starts the process and resolves once it does its work; ends it before that, and throws, once `stop` aborts */
  constructor(begin: (stop: AbortSignal) => Promise<Started>) {
    this.#begin = begin;
    services.add(this);
  }

  /** Of the process that runs now. */
  get pid(): number | undefined {
    return this.#current?.pid;
  }

  async start(): Promise<void> {
    this.#stopping.signal.throwIfAborted();
    const starting = this.#begin(this.#stopping.signal);
    this.#starting = starting.catch(() => {});
    const started = await starting;
    this.#current = started;
    void started.exited.then(() => {
      this.#current = undefined;
      if (!this.#stopping.signal.aborted) this.#running = this.#startAgain();
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
    if (!this.#current || this.#stopping.signal.aborted) return;
    const args = ['-c', FREEZE, 'freeze', String(this.#current.pid), String(ms / 1000)];
    const freezer = spawn('sh', args, { detached: true, stdio: 'ignore' });
    this.#freezers.add(freezer);
    await once(freezer, 'exit');
    this.#freezers.delete(freezer);
  }

  /** Resolves once the process that runs now has ended, of whatever. */
  async ended(): Promise<void> {
    await this.running();
    await this.#current?.exited;
  }

  /** Resolves once it does its work. */
  async running(): Promise<void> {
    while (!this.#current && !this.#stopping.signal.aborted) {
      await this.#running;
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    await this.#stay();
    this.#signal('SIGCONT');
    await this.#current?.stop();
    services.delete(this);
  }

  /** Ends it at once, by kill -9; it does not come back. */
  async end(): Promise<void> {
    await this.#stay();
    this.#signal('SIGKILL');
    await this.#current?.exited;
    services.delete(this);
  }

  /** From now on it neither starts nor freezes. */
  async #stay(): Promise<void> {
    this.#stopping.abort();
    for (const { pid, exitCode } of this.#freezers) {
      // Its group: the shell and what it waits for.
      if (pid && exitCode === null) process.kill(-pid, 'SIGKILL');
    }
    await this.#starting;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#current) signalProcess(this.#current.pid, signal);
  }

  async #startAgain(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
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
