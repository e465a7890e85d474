import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir, fetchAsset, type NpmAsset } from '@video-pipeline/assets';
import { makeOnce } from './lock.ts';

/** The repository's root. */
export const ROOT = resolve(import.meta.dirname, '../../..');
/** Folder in which SST installs its components and the providers' SDKs. */
export const PLATFORM = join(ROOT, '.sst/platform');

/** The bun that SST 4.17 requires, from npm. SST itself downloads it from a host that not every machine can reach. */
const BUN: NpmAsset = {
  spec: '@oven/bun-linux-x64@1.2.1',
  integrity:
    'sha512-3QDzETq7FLjjJyvuL6Sb7SGu7jHv2GllucJrKVElRgsbibCVbBLjF44EWjK/e4LB+z9qIDqreqrIQAS1IaPgiw==',
  files: ['bin/bun'],
};
/** The Pulumi that SST 4.17 requires. `sst install` only reads its version. */
const PULUMI_VERSION = 'v3.215.0';

/**
 * Installs `.sst/platform` by `sst install`, unless it exists for this version of SST and these providers. It uses
 * SST's own tools if they are installed. Otherwise, on Linux x64, it uses a bun from npm and a stand-in for pulumi, in
 * the cache.
 * @throws Error with the output of `sst install`
 */
export async function ensurePlatform(note: (line: string) => void = () => {}): Promise<void> {
  // Test files run in parallel, and two concurrent installs would break each other.
  await makeOnce(ROOT, 'platform', isCurrent, () => install(note));
}

async function install(note: (line: string) => void): Promise<void> {
  note('laying out .sst/platform (sst install)');
  const sst = join(ROOT, 'node_modules/sst/bin/sst.mjs');
  const env = { ...process.env, SST_TELEMETRY_DISABLED: '1', ...(await tools()) };
  try {
    await promisify(execFile)(process.execPath, [sst, 'install', '--stage', 'offline'], { cwd: ROOT, env });
  } catch (cause) {
    const output = cause instanceof Error && 'stdout' in cause ? String(cause.stdout) : String(cause);
    throw new Error(`sst install failed: ${output.trim()}`, { cause });
  }
  writeFileSync(stampFile(), stamp());
}

const stampFile = () => join(PLATFORM, 'offline-stamp');

/** Inputs of the installation: the version of SST, and the providers in sst.config.ts. */
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
