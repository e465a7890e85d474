import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expandVariables } from '@video-pipeline/config';
import { HttpError } from '@video-pipeline/http';
import type { CameraTest } from './api.ts';

const PROBE = join(import.meta.dirname, '../../../ingest-host/src/probe-command.ts');
/** How long a camera is read, and the longest wait for its first picture, seconds. */
const WATCH_SECONDS = 2;
const PICTURE_SECONDS = 6;
const TIMEOUT_MS = 14_000;

let isBusy = false;

/**
 * Reads a camera for a moment with ingest's own code, in a separate process.
 * @param url from the list of streams; never shown
 * @throws HttpError 422 with the reason why it gives no picture, 429 while another camera is tested, 501 if ingest is
 * not installed
 */
export async function testCamera(url: string, transport = 'tcp'): Promise<CameraTest> {
  if (!existsSync(PROBE))
    throw new HttpError(501, 'cameras can be tested where ingest is installed: npm run cameras -- test');
  if (isBusy) throw new HttpError(429, 'another camera is being tested: try again');
  const full = expandVariables(url, (name) => {
    throw new HttpError(422, `its address needs the variable ${name}, which is not set`);
  });
  isBusy = true;
  try {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'camera-test-'));
    const picture = join(folder.path, 'picture.jpg');
    const facts = await runProbe(full, ['--jpeg', picture, '--transport', transport]);
    return { ...facts, picture: (await readFile(picture)).toString('base64') };
  } finally {
    isBusy = false;
  }
}

async function runProbe(url: string, args: readonly string[]): Promise<Omit<CameraTest, 'picture'>> {
  const bounds = ['--json', '--seconds', String(WATCH_SECONDS), '--timeout', String(PICTURE_SECONDS)];
  // In a variable, since ps shows the arguments of a command.
  const env = { ...process.env, CAMERA_URL: url };
  const options = { env, timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: 1_000_000 } as const;
  const command = [PROBE, `\${CAMERA_URL}`, ...args, ...bounds];
  const { stdout } = await promisify(execFile)(process.execPath, command, options).catch(({ stderr }) => {
    const reason = stderr.trim().split('\n').at(-1);
    throw new HttpError(422, reason || `no picture within ${TIMEOUT_MS / 1000} s`);
  });
  const { codec, width, height, measuredFps, announcedFps, bitsPerSecond } = JSON.parse(stdout);
  return { codec, width, height, fps: measuredFps ?? announcedFps, bits_per_second: bitsPerSecond };
}
