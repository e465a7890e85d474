import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalProcess } from '@video-pipeline/local';

/** A process, as returned by the functions of `packages/local` that start one. */
interface Started {
  pid: number;
  exited: Promise<string>;
  stop(): Promise<void>;
}

/** Pause before a process that ended is restarted, as by a supervisor, milliseconds. */
const AWAY_MS = 500;
/** A shell does it, so that the process continues and ends even if this process has ended. */
const FREEZE = 'kill -STOP "$1"; sleep "$2"; kill -CONT "$1"';

const services = new Set<Service>();

/** Ends all services with SIGKILL, also frozen and starting ones, and restarts none. */
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

  /** Id of the running process. */
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

  /** Ends the process with SIGKILL as soon as it runs. It is restarted. */
  async kill(): Promise<void> {
    await this.running();
    this.#signal('SIGKILL');
  }

  /** Ends the process with SIGTERM, and waits until it is restarted. */
  async restart(): Promise<void> {
    await this.running();
    const former = this.#current;
    this.#signal('SIGTERM');
    await former?.exited;
    await this.running();
  }

  /** Stops the process for a while (SIGSTOP). It keeps its connections. */
  async freeze(ms: number): Promise<void> {
    await this.running();
    if (!this.#current || this.#stopping.signal.aborted) return;
    const args = ['-c', FREEZE, 'freeze', String(this.#current.pid), String(ms / 1000)];
    const freezer = spawn('sh', args, { detached: true, stdio: 'ignore' });
    this.#freezers.add(freezer);
    await once(freezer, 'exit');
    this.#freezers.delete(freezer);
  }

  /** Resolves once the running process has ended, for any reason. */
  async ended(): Promise<void> {
    await this.running();
    await this.#current?.exited;
  }

  /** Resolves once the process is ready. */
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

  /** Ends the process with SIGKILL, without a restart. */
  async end(): Promise<void> {
    await this.#stay();
    this.#signal('SIGKILL');
    await this.#current?.exited;
    services.delete(this);
  }

  /** From now on it is not started or frozen. */
  async #stay(): Promise<void> {
    this.#stopping.abort();
    for (const { pid, exitCode } of this.#freezers) {
      // The process group: the shell and its child.
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
      // A service that it needs may be down, too.
      const started = await this.start().then(
        () => true,
        () => false,
      );
      if (started) return;
    }
  }
}
