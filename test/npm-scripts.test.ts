import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const scripts: Record<string, string> = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts;

/** The programs that a script runs at first: how it ends follows from them, whatever their files and options. */
const shape = (script: string) =>
  script
    .replace(/ --then .*/, '')
    .split(' ')
    .filter((word) => /^(exec|node|npm|tsc|biome|vitest)$|\/in-turn\.ts$/.test(word))
    .join(' ');
const ofShape = new Map(Object.entries(scripts).map(([name, script]) => [shape(script), name]));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'scripts-'));
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  const bin = join(folder, 'node_modules', '.bin');
  mkdirSync(bin, { recursive: true });
  // Programs that run for ever, but for the one that runs others.
  const sleeper = `#!/bin/sh\ncase $1 in */in-turn.ts) exec ${process.execPath} ${root}/"$@";; esac\n: > $PIDS/$$\nexec sleep 1000\n`;
  for (const name of ['node', 'tsc', 'biome', 'vitest']) {
    writeFileSync(join(bin, name), sleeper, { mode: 0o755 });
  }
});
afterAll(() => rm(folder, { recursive: true }));

test('each npm script is a single process without a waiting shell', () => {
  expect(
    Object.entries(scripts).filter(([, script]) => !/^exec /.test(script) || /[&;|`$()<>]/.test(script)),
  ).toEqual([]);
});

test('a program that is not installed is an error with the remedy', () => {
  const args = [join(root, 'packages/lifecycle/src/in-turn.ts'), 'no-such-program'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect([status, stderr]).toEqual([1, 'no-such-program is not installed: npm install --include=dev\n']);
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

// Most of it is waiting.
test.concurrent.for(
  [...ofShape.values()].flatMap((name) => [[name, 'SIGTERM'] as const, [name, 'SIGINT'] as const]),
)('npm run %s, ended by %s, leaves no process', async ([name, signal], { expect }) => {
  const PIDS = await mkdtemp(join(folder, 'pids-'));
  const running = () => readdirSync(PIDS).filter((pid) => isAlive(Number(pid)));
  const own = Object.entries(process.env).filter(([key]) => !key.startsWith('npm_'));
  const env = { ...Object.fromEntries(own), PIDS };
  // The npm beside this checkout's Node, as a person calls it.
  const npm = spawn('npm', ['run', name], { cwd: folder, env, stdio: 'ignore', detached: true });
  const ended = once(npm, 'exit');
  await expect.poll(() => running().length, { timeout: 15_000 }).toBeGreaterThan(0);
  // On a busy machine, npm may not have seen its script start yet.
  await sleep(500);
  npm.kill(signal);
  await ended;
  for (let tries = 0; running().length > 0 && tries < 50; tries++) await sleep(100);
  const left = running();
  for (const pid of left) process.kill(Number(pid), 'SIGKILL');
  expect(left).toEqual([]);
});
