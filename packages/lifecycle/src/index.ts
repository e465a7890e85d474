/** How every process of ours starts, says that it is ready, and stops. */
import { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';

/** Longest time a process takes to finish its work once told to stop, milliseconds. */
const GRACE_MS = 4_000;

/**
 * Stops the process once: on SIGTERM, SIGINT, or when npm or the parent that opened an IPC channel is gone, however it
 * went, so that no orphan stays behind. Exits 0 after `stop`; exits 1 when `stop` fails or takes over `graceMs`.
 * @returns the same stop, for a process that ends by itself
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
  whenNpmIsGone(once);
  return once;
}

const PARENT_POLL_MS = 250;

/** Calls `stop` once the npm that started this process is gone: killed, it can't tell its script to stop. */
export function whenNpmIsGone(stop: () => unknown): void {
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
 * Ends the process `ms` after the call if it has not ended by itself, and says what kept it: a client that does not close
 * its connections, say. Keeps nothing open itself.
 * @param note takes the line that says so
 * @param code exit code where `process.exitCode` is not set
 */
export function endWithin(ms: number, note: (line: string) => void, code = 0): void {
  setTimeout(() => {
    note(`ended after ${ms / 1000} s of waiting for: ${openHandles()}`);
    process.exit(process.exitCode ?? code);
  }, ms).unref();
}

/**
 * What keeps the process from ending, by kind and number; connections by the address of the other end:
 * `2 TCPSocketWrap 127.0.0.1:9092, 1 Timeout`.
 */
export function openHandles(): string {
  // Node documents no other way to the sockets themselves.
  const handles = (process as unknown as { _getActiveHandles?(): object[] })._getActiveHandles?.() ?? [];
  const peers = handles
    .filter((one): one is Socket => one instanceof Socket && one.remoteAddress !== undefined)
    .map(({ remoteAddress, remotePort }) => `TCPSocketWrap ${remoteAddress}:${remotePort}`);
  const kinds = process.getActiveResourcesInfo();
  // Each socket once: by its address where it has one.
  for (const _ of peers) if (kinds.includes('TCPSocketWrap')) kinds.splice(kinds.indexOf('TCPSocketWrap'), 1);
  const counts = Map.groupBy([...peers, ...kinds], (what) => what);
  return Array.from(counts, ([what, all]) => `${all.length} ${what}`).join(', ') || 'nothing';
}

/** Longest time that a command takes to end once its work is done, milliseconds. */
const COMMAND_END_MS = 1_000;

/** Runs a command: an error ends it with one line, and whatever it leaves open can't keep it. */
export async function runCommand(work: Promise<unknown>): Promise<void> {
  await work.catch(exitWithError);
  endWithin(COMMAND_END_MS, (line) => process.stderr.write(`${line}\n`));
}

/** Sends a signal; `false` when there is no such process. Signal 0 only asks. */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  // Zero and below mean whole groups of processes, ours among them.
  if (!(pid > 0)) return false;
  try {
    return process.kill(pid, signal);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Set by a parent that starts this process before what it needs is there. */
export const HELD = 'VIDEO_PIPELINE_HELD';

/**
 * Waits until the parent says that what this process needs is there, and takes the variables known only then. To be called
 * once all modules are loaded, and before anything is connected. Returns at once where no parent holds the process back.
 */
export async function toldToBegin(): Promise<void> {
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

/** Tells the parent, if it listens, that the process does its work now, and where (`url` of what it serves). */
export function reportReady(info: { url?: string } = {}): void {
  process.send?.({ ready: info });
}

/** Tells who supervises this process that its work is done, whatever its exit code says of it. */
export function reportFinished(): void {
  process.send?.({ finished: true });
}

/** Variables that name a port, with what it is without them. */
const PORTS = { HEALTH_PORT: '8090', CONSOLE_PORT: '8080', PORT: '8000' };

/** The variable to change, where somebody else listens on our port. */
function portTaken({ code, port, address }: NodeJS.ErrnoException & { port?: number; address?: string }) {
  if (code !== 'EADDRINUSE') return undefined;
  const named = Object.entries(PORTS).filter(
    ([name, usual]) => (process.env[name] || usual) === String(port),
  );
  const remedy = named.map(([name]) => `set ${name} to another, or `);
  return `port ${port} of ${address} is taken: ${remedy}stop what listens there`;
}

/** Ends the process with one line a person can act on: for an error found before the work began. */
export function exitWithError(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? (portTaken(error) ?? error.message) : String(error)}\n`);
  process.exit(1);
}

/**
 * For a process that many pictures pass through, called first: V8 collects when four times as much has come together,
 * instead of at every few of them, since it counts their buffers beside a heap that is small.
 */
export function expectLargeBuffers(): void {
  setFlagsFromString('--heap-growing-percent=300');
}
