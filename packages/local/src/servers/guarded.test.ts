import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import {
  canListen,
  endOrphans,
  freePort,
  lock,
  ownerOf,
  readPid,
  signalProcess,
} from '../supervisor/processes.ts';
import { startGuarded } from './guarded.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'guarded-'));
});
afterEach(() => rm(folder, { recursive: true }));

const program = (code: string) => ({
  name: 'it',
  command: [process.execPath, '-e', code] as [string, ...string[]],
  pidFile: join(folder, 'run', 'it.pid'),
  logFile: join(folder, 'it.log'),
  isReady: async () => existsSync(join(folder, 'ready')),
});
const READY = () => `require('fs').writeFileSync(${JSON.stringify(join(folder, 'ready'))}, '');`;
const FOREVER = 'setInterval(() => {}, 1000);';

async function goneWithin(pid: number, ms: number): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    if (!signalProcess(pid, 0)) return true;
  }
  return false;
}

describe('a guarded program', () => {
  it('is ended with SIGTERM', async () => {
    const onTerm = `process.on('SIGTERM', () => process.exit(3));`;
    const server = await startGuarded(program(`${onTerm} ${READY()} ${FOREVER}`));
    expect(readPid(join(folder, 'run', 'it.pid'))).toBe(server.pid);
    await server.stop();
    expect(await server.exited).toBe('3');
    expect(signalProcess(server.pid, 0)).toBe(false);
    expect(existsSync(join(folder, 'run', 'it.pid'))).toBe(false);
  });

  it('is not asked whether it is ready before its port is open', async () => {
    const port = await freePort();
    let asked = 0;
    const isReady = async () => ++asked > 0;
    const listen = `setTimeout(() => require('net').createServer().listen(${port}, '127.0.0.1'), 300);`;
    const server = await startGuarded({ ...program(listen), port, isReady });
    expect(asked).toBe(1);
    expect(await canListen(port)).toBe(false);
    await server.stop();
  });

  it('is killed when it ignores SIGTERM', async () => {
    const server = await startGuarded(program(`process.on('SIGTERM', () => {}); ${READY()} ${FOREVER}`));
    await server.stop();
    expect(await server.exited).toBe('137');
    expect(signalProcess(server.pid, 0)).toBe(false);
  });

  it('is killed at once at a stop before it is ready, when it ignores SIGTERM', async () => {
    const stop = new AbortController();
    const deaf = program(`process.on('SIGTERM', () => {}); console.log('deaf'); ${FOREVER}`);
    const starting = startGuarded({ ...deaf, stop: stop.signal });
    await expect.poll(() => readFileSync(deaf.logFile, 'utf8')).toContain('deaf');
    const began = performance.now();
    stop.abort();
    await expect(starting).rejects.toThrow('it was told to stop');
    // Later, its guard kills it.
    expect(performance.now() - began).toBeLessThan(3_000);
  });

  it('is ended at a stop before it is ready', async () => {
    const stop = new AbortController();
    const starting = startGuarded({ ...program(FOREVER), stop: stop.signal });
    await expect.poll(() => readPid(join(folder, 'run', 'it.pid'))).toBeGreaterThan(0);
    const pid = readPid(join(folder, 'run', 'it.pid')) ?? 0;
    stop.abort();
    await expect(starting).rejects.toThrow('it was told to stop');
    expect(signalProcess(pid, 0)).toBe(false);
  });

  it('ends when its parent is killed with SIGKILL', async () => {
    const script = join(folder, 'parent.ts');
    const { isReady: _, ...plain } = program(`${READY()} ${FOREVER}`);
    await writeFile(
      script,
      `import { startGuarded } from ${JSON.stringify(join(import.meta.dirname, 'guarded.ts'))};
       const server = await startGuarded({ ...${JSON.stringify(plain)}, isReady: async () => true });
       setTimeout(() => console.log(server.pid), 300);
       setInterval(() => {}, 1000);`,
    );
    const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [text] = await once(parent.stdout, 'data');
    const pid = Number(text);
    expect(signalProcess(pid, 0)).toBe(true);
    parent.kill('SIGKILL');
    expect(await goneWithin(pid, 15_000)).toBe(true);
  });

  it('that ends at once is an error with its output', async () => {
    const started = startGuarded(program(`console.error('ERROR port 9092 is taken'); process.exit(1);`));
    await expect(started).rejects.toThrow('it ended (1): ERROR port 9092 is taken');
  });
});

test('freePort() never returns the same port twice, also before a server listens on it', async () => {
  // Of 400 drawn at random, two are the same with a probability of 99.8 %.
  const ports = new Set<number>();
  for (let count = 0; count < 400; count++) ports.add(await freePort());
  expect(ports.size).toBe(400);
});

describe('a pid file', () => {
  it('with a reused process id has no owner', async () => {
    const file = join(folder, 'it.pid');
    await writeFile(file, String(process.pid));
    expect(await ownerOf(file)).toBe(process.pid);
    await utimes(file, 0, 0);
    expect(await ownerOf(file)).toBeUndefined();
  });

  it('that can not be written is an error with the remedy', async () => {
    await writeFile(join(folder, 'a file'), '');
    const run = join(folder, 'a file', 'run');
    await expect(lock(run)).rejects.toThrow(
      `${run} can't be written (ENOTDIR: not a directory, mkdir '${run}'): choose another folder with --data-dir`,
    );
  });

  it.skipIf(spawnSync('unshare', ['-rm', 'true']).status !== 0)(
    'on a full disk is an error with the remedy',
    () => {
      const module = join(import.meta.dirname, '../supervisor/processes.ts');
      const fill = 'mount -t tmpfs -o size=8k tmpfs "$0" && head -c 8k /dev/zero > "$0/all"; exec "$@"';
      const code = `import { explainFullDisk } from ${JSON.stringify(module)};
      console.log((await explainFullDisk(new Error('Kafka ended (1)'), ${JSON.stringify(folder)})).message);`;
      const say = ['--input-type=module', '-e', code];
      const run = (...command: string[]) =>
        spawnSync(command[0] ?? '', command.slice(1), { encoding: 'utf8' }).stdout;
      expect(run('unshare', '-rm', 'sh', '-c', fill, folder, process.execPath, ...say)).toBe(
        `Kafka ended (1); the disk of ${folder} is full: make room there, or choose another folder with --data-dir\n`,
      );
      expect(run(process.execPath, ...say)).toBe('Kafka ended (1)\n');
    },
  );

  it('lets one supervisor run at a time', async () => {
    const other = spawn(process.execPath, ['-e', FOREVER], { stdio: 'ignore' });
    await writeFile(join(folder, 'supervisor.pid'), String(other.pid));
    await expect(lock(folder)).rejects.toThrow(`process ${other.pid} already runs on ${folder}`);
    other.kill('SIGKILL');
    await once(other, 'exit');
    const release = await lock(folder);
    expect(readPid(join(folder, 'supervisor.pid'))).toBe(process.pid);
    await release();
    expect(existsSync(join(folder, 'supervisor.pid'))).toBe(false);
  });

  const ELSEWHERE = '0a1b2c3d.4026532584';

  it('of another container has no owner here, even if its process id exists here', async () => {
    const file = join(folder, 'supervisor.pid');
    await writeFile(file, `${process.pid} ${ELSEWHERE}`);
    expect(await ownerOf(file)).toBeUndefined();
  });

  it('of another container is respected while that runs, and taken over after its end', async () => {
    const [file, service] = [join(folder, 'supervisor.pid'), join(folder, 'kafka.pid')];
    const others = spawn(process.execPath, ['-e', FOREVER], { stdio: 'ignore' });
    await writeFile(file, `999999999 ${ELSEWHERE}`);
    // In the other container, its Kafka has this number.
    await writeFile(service, String(others.pid));
    const beat = setInterval(() => void utimes(file, new Date(), new Date()), 100);
    await expect(lock(folder)).rejects.toThrow(`another container or machine already runs on ${folder}`);
    clearInterval(beat);
    // One that ends meanwhile takes its lock with it.
    const gone = join(folder, 'gone');
    await mkdir(gone);
    await writeFile(join(gone, 'supervisor.pid'), `999999999 ${ELSEWHERE}`);
    const removed = sleep(500).then(() => rm(join(gone, 'supervisor.pid')));
    const [release, releaseGone] = await Promise.all([lock(folder), lock(gone), removed]);
    await releaseGone();
    await endOrphans(folder);
    expect([existsSync(service), signalProcess(others.pid ?? 0, 0)]).toEqual([false, true]);
    others.kill('SIGKILL');
    await release();
  }, 30_000);

  it('of a supervisor is touched while it runs, so that other containers see it', async () => {
    const release = await lock(folder);
    const file = join(folder, 'supervisor.pid');
    await utimes(file, 0, 0);
    await expect.poll(() => statSync(file).mtimeMs).toBeGreaterThan(Date.now() - 60_000);
    await release();
  });
});
