/** How each process of the pipeline starts, reports that it is ready, and stops. */
import { readFileSync, readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';

/** Longest time that a process takes to finish its work after a signal, milliseconds. */
const GRACE_MS = 4_000;

/**
 * Stops the process once: on SIGTERM, on SIGINT, or when npm or the parent with the IPC channel has ended, even by a
 * crash. So no orphan stays behind. Exits with 0 after `stop`. Exits with 1 when `stop` fails or takes longer than
 * `graceMs`.
 * @returns the same stop, for a process that ends without a signal
 * @example
 * onShutdown(async () => await server.close(), logger);
 */
export function onShutdown(
  stop: () => Promise<void>,
  log: { error(message: string, error: Error): void },
  graceMs = GRACE_MS,
): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  const once = () => {
    stopping ??= finish(stop, log, graceMs);
    return stopping;
  };
  process.once('SIGTERM', once);
  process.once('SIGINT', once);
  // A second signal would otherwise kill the process in the middle of its stop.
  process.on('SIGTERM', () => {});
  process.on('SIGINT', () => {});
  process.once('disconnect', once);
  onNpmExit(once);
  return once;
}

const PARENT_POLL_MS = 250;

/** Calls `stop` once the npm that started this process has ended. An npm that was killed can't signal its script. */
export function onNpmExit(stop: () => unknown): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, PARENT_POLL_MS);
  timer.unref();
}

async function finish(
  stop: () => Promise<void>,
  log: { error(message: string, error: Error): void },
  graceMs: number,
): Promise<void> {
  const timer = setTimeout(() => {
    log.error('stop took too long', new Error(`not stopped after ${graceMs} ms; open: ${openHandles()}`));
    process.exit(1);
  }, graceMs);
  timer.unref();
  try {
    await stop();
    process.exit();
  } catch (error) {
    log.error('stop failed', error instanceof Error ? error : new Error(String(error)));
    process.exit(1);
  }
}

/**
 * Ends the process `ms` milliseconds after the call if it still runs, and reports what kept it running, for
 * example a client that does not close its connections. This timer itself keeps nothing open.
 * @param note receives that report
 * @param code exit code if `process.exitCode` is not set
 */
export function forceExitAfter(ms: number, note: (line: string) => void, code = 0): void {
  setTimeout(() => {
    note(`ended after ${ms / 1000} s of waiting for: ${openHandles()}`);
    process.exit(process.exitCode ?? code);
  }, ms).unref();
}

/**
 * Counts what keeps the process from ending, by kind. Connections are named by their remote address: `2 TCPSocketWrap
 * 127.0.0.1:9092, 1 Timeout`.
 */
function openHandles(): string {
  // Node has no documented way to the sockets themselves.
  const handles = (process as unknown as { _getActiveHandles?(): object[] })._getActiveHandles?.() ?? [];
  const peers = handles
    .filter((one): one is Socket => one instanceof Socket && one.remoteAddress !== undefined)
    .map(({ remoteAddress, remotePort }) => `TCPSocketWrap ${remoteAddress}:${remotePort}`);
  const kinds = process.getActiveResourcesInfo();
  // Count each socket once: by its address if it has one.
  for (const _ of peers) if (kinds.includes('TCPSocketWrap')) kinds.splice(kinds.indexOf('TCPSocketWrap'), 1);
  const counts = Map.groupBy([...peers, ...kinds], (what) => what);
  return Array.from(counts, ([what, all]) => `${all.length} ${what}`).join(', ') || 'nothing';
}

/** Longest time that a command takes to end once its work is done, milliseconds. */
const COMMAND_EXIT_TIMEOUT_MS = 1_000;

/**
 * Runs a command. An error ends it with one line. Handles that it leaves open can't keep the process alive.
 * @example
 * await runCommand(program.parseAsync());
 */
export async function runCommand(work: Promise<unknown>): Promise<void> {
  await work.catch(exitWithError);
  forceExitAfter(COMMAND_EXIT_TIMEOUT_MS, (line) => process.stderr.write(`${line}\n`));
}

/** Sends a signal. `false` when there is no such process. Signal 0 only checks that. */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  // Zero and negative numbers mean whole process groups, this process included.
  if (!(pid > 0)) return false;
  try {
    return process.kill(pid, signal);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Names the scope in which a process id is unique: this container, until the machine restarts. In another container or
 * on another machine, the same id is another process.
 */
export function pidSpace(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8);
    return `${boot}.${/\d+/.exec(readlinkSync('/proc/self/ns/pid'))}`;
  } catch {
    // Only Linux has containers.
    return 'here';
  }
}

/** The parent sets this variable when it starts a process earlier than the servers that the process needs. */
export const HELD = 'VIDEO_PIPELINE_HELD';

/**
 * Waits until the parent reports that the servers this process needs are up. Sets the variables that are known only
 * then. Call it once all modules are loaded, and before any connection. Returns at once if no parent makes it wait.
 */
export async function waitForParent(): Promise<void> {
  if (process.env[HELD] === undefined) return;
  delete process.env[HELD];
  const abandoned = () => process.exit(1);
  if (!process.connected) abandoned();
  process.once('disconnect', abandoned);
  const { begin } = await new Promise<{ begin: NodeJS.ProcessEnv }>((resolve) =>
    process.once('message', resolve),
  );
  process.off('disconnect', abandoned);
  Object.assign(process.env, begin);
}

/** Reports to the parent, if there is one, that the process is ready, and the `url` that it serves. */
export function reportReady(info: { url?: string } = {}): void {
  process.send?.({ ready: info });
}

/** Reports to the supervisor that the work of this process is done, whatever its exit code is. */
export function reportFinished(): void {
  process.send?.({ finished: true });
}

/** Variables that name a port, with their defaults. */
const PORTS = { HEALTH_PORT: '8090', CONSOLE_PORT: '8080', PORT: '8000' };

/** The message for a port that another program uses, with the variable to change. */
function portTaken({ code, port, address }: NodeJS.ErrnoException & { port?: number; address?: string }) {
  if (code !== 'EADDRINUSE') return undefined;
  const named = Object.entries(PORTS).filter(
    ([name, usual]) => (process.env[name] || usual) === String(port),
  );
  const remedy = named.map(([name]) => `set ${name} to another, or `);
  return `port ${port} of ${address} is taken: ${remedy}stop what listens there`;
}

/** An error's text, with the remedy where a dependency is not installed, as after a pull. */
export const withRemedy = (text: string) =>
  text.includes('Cannot find package') ? `${text}: run npm install` : text;

/** Ends the process with exit code 1 and the error as one line. The line names a remedy where one is known. */
export function exitWithError(error: unknown): never {
  process.stderr.write(
    `${error instanceof Error ? (portTaken(error) ?? withRemedy(error.message)) : String(error)}\n`,
  );
  process.exit(1);
}

/**
 * For a process that handles many pictures. V8 counts the pictures' buffers against a small heap, and would collect
 * garbage after every few of them. With this flag, it collects after four times as much. Call it once all modules are
 * loaded: after a change of flags, V8 uses no compiled modules from the cache.
 */
export function expectLargeBuffers(): void {
  setFlagsFromString('--heap-growing-percent=300');
}
