import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cacheDir, fetchAsset, type NpmAsset } from '@video-pipeline/assets';

/** The repository's root. */
export const ROOT = resolve(import.meta.dirname, '../..');
/** Where SST lays out its components and the providers' SDKs. */
export const PLATFORM = join(ROOT, '.sst/platform');

/** The bun that SST 4.17 asks for, from npm. SST itself downloads it from a place that not every machine reaches. */
const BUN: NpmAsset = {
  spec: '@oven/bun-linux-x64@1.2.1',
  integrity:
    'sha512-3QDzETq7FLjjJyvuL6Sb7SGu7jHv2GllucJrKVElRgsbibCVbBLjF44EWjK/e4LB+z9qIDqreqrIQAS1IaPgiw==',
  files: ['bin/bun'],
};
/** The Pulumi that SST 4.17 asks for. `sst install` only asks its version. */
const PULUMI_VERSION = 'v3.215.0';

/** Work under a lock that takes longer was killed. */
const LONGEST_MS = 300_000;

/**
 * Lays out `.sst/platform` by `sst install`, unless it is there for this version of SST and these providers.
 * Uses SST's own tools where they are installed; else, on Linux x64, a bun from npm and a stand-in for pulumi, in our cache.
 * @throws Error with what `sst install` said
 */
export async function ensurePlatform(note: (line: string) => void = () => {}): Promise<void> {
  if (isCurrent()) return;
  // Test files run side by side, and two installs at once spoil each other.
  const release = await takeLock('platform');
  try {
    if (!isCurrent()) await install(note);
  } finally {
    release();
  }
}

/** Waits until no other process holds the lock of that name, and takes it. @returns what gives it back */
export async function takeLock(name: string): Promise<() => void> {
  const lock = join(ROOT, '.sst/locks', name);
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      return () => rmSync(lock, { force: true });
    } catch {
      if (isLeft(lock)) rmSync(lock, { force: true });
      else await setTimeout(200);
    }
  }
}

/** Whether who took a lock has ended without giving it back. */
function isLeft(lock: string): boolean {
  try {
    if (Date.now() - statSync(lock).mtimeMs > LONGEST_MS) return true;
    const holder = Number(readFileSync(lock, 'utf8'));
    return holder > 0 && !process.kill(holder, 0);
  } catch (error) {
    // No such process. Where the lock itself is gone, it can be taken.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

async function install(note: (line: string) => void): Promise<void> {
  note('laying out .sst/platform (sst install)');
  const sst = join(ROOT, 'node_modules/sst/bin/sst.mjs');
  const env = { ...process.env, SST_TELEMETRY_DISABLED: '1', ...(await tools()) };
  try {
    await promisify(execFile)(process.execPath, [sst, 'install', '--stage', 'offline'], { cwd: ROOT, env });
  } catch (cause) {
    const said = cause instanceof Error && 'stdout' in cause ? String(cause.stdout) : String(cause);
    throw new Error(`sst install failed: ${said.trim()}`, { cause });
  }
  writeFileSync(stampFile(), stamp());
}

const stampFile = () => join(PLATFORM, 'offline-stamp');

/** What the layout depends on: the version of SST, and the providers that sst.config.ts names. */
function stamp(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'node_modules/sst/package.json'), 'utf8'));
  const providers = readFileSync(join(ROOT, 'sst.config.ts'), 'utf8').match(
    /providers: \{[\s\S]*?\n {6}\}/,
  )?.[0];
  return `${version}\n${providers}`;
}

function isCurrent(): boolean {
  return existsSync(stampFile()) && readFileSync(stampFile(), 'utf8') === stamp();
}

/** @returns the variables that point `sst install` at its tools. */
async function tools(): Promise<NodeJS.ProcessEnv> {
  const own = join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'sst/bin');
  const installed = ['bun', 'pulumi'].every((tool) => existsSync(join(own, tool)));
  if (installed || process.platform !== 'linux' || process.arch !== 'x64') return {};
  const home = join(cacheDir(), 'sst');
  const bin = join(home, 'sst/bin');
  mkdirSync(bin, { recursive: true });
  const [bun = ''] = await fetchAsset(BUN);
  rmSync(join(bin, 'bun'), { force: true });
  symlinkSync(bun, join(bin, 'bun'));
  writeFileSync(join(bin, 'pulumi'), `#!/bin/sh\necho ${PULUMI_VERSION}\n`, { mode: 0o755 });
  return { XDG_CONFIG_HOME: home };
}
