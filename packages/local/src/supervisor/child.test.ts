import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startChild } from './child.ts';
import { StartError, signalProcess } from './processes.ts';
import { supervise } from './supervise.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'child-'));
});
afterEach(() => rm(folder, { recursive: true }));

const READY = 'process.send({ ready: {} }); process.on("disconnect", () => process.exit());';

async function program(code: string) {
  const script = join(folder, 'program.cjs');
  await writeFile(script, code);
  return { name: 'it', script, pidFile: join(folder, 'it.pid'), logFile: join(folder, 'it.log') };
}

describe('a child process', () => {
  it.each([
    [undefined, '16'],
    [4, '4'],
  ])('with a semi-space of %s MiB gets %s', async (semiSpaceMiB, size) => {
    const lines: string[] = [];
    const code = await program(`console.log(process.execArgv.at(-1)); ${READY}`);
    const child = await startChild({ ...code, semiSpaceMiB, onLine: (line) => lines.push(line) });
    await child.stop();
    await child.exited;
    expect(lines).toEqual([`--max-semi-space-size=${size}`]);
  });

  it("is ready when it sends 'ready', and its lines are kept and passed on", async () => {
    const lines: string[] = [];
    const child = await startChild({
      ...(await program(`console.log('one'); console.error('two'); ${READY}`)),
      onLine: (line) => lines.push(line),
    });
    expect(signalProcess(child.pid, 0)).toBe(true);
    await child.stop();
    expect(await child.exited).toBe('SIGTERM');
    expect(signalProcess(child.pid, 0)).toBe(false);
    expect(lines).toEqual(['one']);
    expect((await readFile(join(folder, 'it.log'), 'utf8')).split('\n').sort()).toEqual(['', 'one', 'two']);
    expect(existsSync(join(folder, 'it.pid'))).toBe(false);
  });

  it('that ends before it is ready is an error with its last output', async () => {
    const code = `console.error('MODEL: must be an ONNX file'); process.exitCode = 1;`;
    const started = startChild(await program(code));
    await expect(started).rejects.toThrow(StartError);
    await expect(started).rejects.toThrow('it ended (1): MODEL: must be an ONNX file');
  });

  it('that has ended before the listener is added is reported as well', async () => {
    const blocked = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700);
    const env = {
      // Read while the process is started: this one then is as busy as a machine under load makes it.
      get BUSY() {
        setImmediate(blocked);
        return '1';
      },
    };
    const started = startChild({ ...(await program('process.exit(3)')), env });
    await expect(started).rejects.toThrow('it ended (3)');
  });

  it('that is not ready within the timeout is ended', async () => {
    const started = startChild({ ...(await program('setInterval(() => {}, 1000)')), timeoutMs: 300 });
    await expect(started).rejects.toThrow('was not ready after 0.3 s');
  });

  it('whose pid file can not be written, as on a full disk, is ended', async () => {
    const [run, alive] = [join(folder, 'run'), join(folder, 'alive')];
    const env = {
      // Read while the process is started.
      get MOVED() {
        rmSync(run, { recursive: true });
        return '1';
      },
    };
    const code = await program(`require('node:fs').writeFileSync(${JSON.stringify(alive)}, ''); ${READY}`);
    await expect(startChild({ ...code, env, pidFile: join(run, 'it.pid') })).rejects.toThrow('ENOENT');
    await sleep(1_000);
    expect(existsSync(alive)).toBe(false);
  });

  const LIFECYCLE = import.meta.resolve('@video-pipeline/lifecycle');
  const HELD = `import(${JSON.stringify(LIFECYCLE)}).then(async ({ waitForParent }) => {
    console.log('loaded');
    await waitForParent();
    console.log('begins with ' + process.env.MORE);
    ${READY}
  });`;

  it('is loaded while it is held back, and begins with the variables known then', async () => {
    const lines: string[] = [];
    const asked = Promise.withResolvers<NodeJS.ProcessEnv>();
    const started = startChild({
      ...(await program(HELD)),
      onLine: (line) => lines.push(line),
      begin: () => asked.promise,
      timeoutMs: 5_000,
    });
    await expect.poll(() => lines, { timeout: 10_000 }).toEqual(['loaded']);
    asked.resolve({ MORE: '30 frames' });
    const child = await started;
    expect(lines).toEqual(['loaded', 'begins with 30 frames']);
    await child.stop();
  });

  it('that is held back for something that fails is ended without beginning', async () => {
    const code = await program(HELD);
    const started = startChild({ ...code, begin: () => Promise.reject(new StartError('Kafka ended (1)')) });
    await expect(started).rejects.toThrow('Kafka ended (1)');
    expect(await readFile(code.logFile, 'utf8')).not.toContain('begins');
    expect(existsSync(code.pidFile)).toBe(false);
  });

  it('that is held back is ended at a stop', async () => {
    const code = await program(HELD);
    const stop = new AbortController();
    const begin = () => {
      stop.abort();
      return new Promise<undefined>(() => {});
    };
    await expect(startChild({ ...code, begin, stop: stop.signal })).rejects.toThrow('was told to stop');
    expect(existsSync(code.pidFile)).toBe(false);
  });

  it('that ends just when it should begin is reported as ended', async () => {
    const code = await program(HELD);
    const begin = async () => {
      signalProcess(Number.parseInt(await readFile(code.pidFile, 'utf8'), 10), 'SIGKILL');
      // Its end must not be reported before it may begin.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
      return undefined;
    };
    await expect(startChild({ ...code, begin })).rejects.toThrow('it ended (SIGKILL)');
    expect(existsSync(code.pidFile)).toBe(false);
  });

  it('left by an earlier run is ended before the next starts', async () => {
    const code = await program(READY);
    const first = await startChild(code);
    const second = await startChild(code);
    expect(signalProcess(first.pid, 0)).toBe(false);
    await second.stop();
  });
});

describe('supervision', () => {
  it('restarts a process that ended, and reports its last output', async () => {
    const notes: string[] = [];
    const pids: number[] = [];
    const code = await program(`console.log('frame 3: corrupt'); ${READY}`);
    const service = await supervise({
      name: 'it',
      launch: () => startChild(code),
      note: (line) => notes.push(line),
      onStart: (pid) => pids.push(pid),
      firstDelayMs: 10,
    });
    signalProcess(service.pid ?? 0, 'SIGKILL');
    while (pids.length < 2) await sleep(10);
    expect(notes).toEqual(['it ended (SIGKILL), starting it again in 0.01 s: frame 3: corrupt']);
    expect(service).toMatchObject({ restarts: 1, state: 'running' });
    await service.stop();
    expect(service.state).toBe('stopped');
    expect(pids.some((pid) => signalProcess(pid, 0))).toBe(false);
  });

  it('retries a process that does not start, with a growing backoff', async () => {
    const notes: string[] = [];
    const code = await program(READY);
    const service = await supervise({
      name: 'it',
      launch: () => startChild(code),
      note: (line) => notes.push(line.replace(/: .*/, '')),
      firstDelayMs: 20,
    });
    await writeFile(code.script, 'process.exit(7)');
    signalProcess(service.pid ?? 0, 'SIGKILL');
    while (notes.length < 5) await sleep(10);
    await service.stop();
    expect(notes.slice(0, 5)).toEqual([
      'it ended (SIGKILL), starting it again in 0.02 s',
      'it ended (7)',
      'it failed to start, trying again in 0.04 s',
      'it ended (7)',
      'it failed to start, trying again in 0.08 s',
    ]);
  });

  it('does not count a clock change as a minute without a fault', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const clock = setInterval(() => vi.setSystemTime(Date.now() + 3_600_000), 20);
    onTestFinished(() => {
      clearInterval(clock);
      vi.useRealTimers();
    });
    const notes: string[] = [];
    const code = await program(`setTimeout(() => process.exit(3), 200); ${READY}`);
    const service = await supervise({
      name: 'it',
      launch: () => startChild(code),
      note: (line) => void notes.push(line),
      firstDelayMs: 20,
    });
    while (notes.length < 3) await sleep(10);
    await service.stop();
    const delays = notes.map((line) => / in ([\d.]+) s/.exec(line)?.[1]);
    expect(delays.slice(0, 3)).toEqual(['0.02', '0.04', '0.08']);
  });

  it('does not restart a process that reports its work as finished, and reports its error', async () => {
    const code =
      await program(`process.send({ ready: {} }); console.error('error: no video'); process.exitCode = 1;
      process.send({ finished: true }, () => process.disconnect());`);
    const service = await supervise({
      name: 'it',
      launch: () => startChild(code),
      note: (line) => expect.unreachable(line),
      isDone: async (saidSo) => saidSo,
    });
    await service.finished;
    expect(service).toMatchObject({ state: 'finished', failure: 'error: no video' });
    await service.stop();
  });

  it('calls a process finished once it reports so, before it has ended', async () => {
    const code = await program(`${READY}; process.send({ finished: true });`);
    const service = await supervise({ name: 'it', launch: () => startChild(code), note: () => {} });
    await expect.poll(() => service.state).toBe('finished');
    expect(signalProcess(service.pid ?? 0, 0)).toBe(true);
    await service.stop();
    expect(service.state).toBe('stopped');
  });

  it('does not restart a process that ends with code 0 after its work', async () => {
    const code = await program('process.send({ ready: {} }); setTimeout(() => process.exit(0), 50);');
    const service = await supervise({
      name: 'it',
      launch: () => startChild(code),
      note: (line) => expect.unreachable(line),
      isDone: async () => true,
    });
    await service.finished;
    expect(service.state).toBe('finished');
    await service.stop();
  });
});
