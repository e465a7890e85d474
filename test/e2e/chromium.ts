import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { cacheDir, fetchAsset, type NpmAsset, platformKey } from '@video-pipeline/assets';
import type { Browser, LaunchOptions } from 'playwright-core';
import { folderOnce } from '../../packages/assets/src/unpack.ts';

/**
 * Chromium (BSD-3-Clause) without a window, with H.264 and the libraries that a bare machine lacks, in a package under MIT.
 * Only tests use it.
 */
const PINNED: NpmAsset = {
  spec: '@sparticuz/chromium@153.0.0',
  integrity:
    'sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==',
  files: ['bin/chromium.br', 'bin/swiftshader.tar.br', 'bin/al2023.tar.br', 'bin/fonts.tar.br'],
};
/** Only its own font, so that pages have the same width on each machine. */
const FONTS = `<fontconfig><dir prefix="relative">fonts</dir><cachedir>/tmp/fontconfig</cachedir></fontconfig>`;
const HAS_PINNED = platformKey() === 'linux-x64';
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const MACOS = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';

/** The Chromium of the variable CHROMIUM, else the pinned one, which is the same everywhere, else one of the machine. */
const found: LaunchOptions | undefined = await findChromium();
export const hasChromium = found !== undefined;
if (!hasChromium) console.warn('skipped: no Chromium; install one, or name it in CHROMIUM');

async function findChromium(): Promise<LaunchOptions | undefined> {
  if (process.env.CHROMIUM) return { executablePath: process.env.CHROMIUM };
  try {
    if (HAS_PINNED) return await fetchPinned();
  } catch (error) {
    // A skipped test would not be noticed in CI.
    if (process.env.CI) throw error;
    console.warn((error as Error).message);
  }
  const folders = (process.env.PATH ?? '').split(delimiter);
  const paths = folders.flatMap((folder) => NAMES.map((name) => join(folder, name)));
  const executablePath = [...paths, MACOS].find((path) => existsSync(path));
  return executablePath ? { executablePath } : undefined;
}

async function fetchPinned(): Promise<LaunchOptions> {
  const folder = join(cacheDir(), 'chromium', PINNED.spec.split('@').at(-1) ?? '');
  await folderOnce(folder, PINNED.spec, async (partial) => {
    const [program = '', ...archives] = await fetchAsset(PINNED, console.error);
    await mkdir(partial, { recursive: true });
    await writeFile(join(partial, 'chromium'), brotliDecompressSync(await readFile(program)), {
      mode: 0o755,
    });
    for (const archive of archives)
      execFileSync('tar', ['xf', '-', '-C', partial], {
        input: brotliDecompressSync(await readFile(archive)),
      });
    await writeFile(join(partial, 'fonts.conf'), FONTS);
    await rm(dirname(dirname(program)), { recursive: true, force: true });
    return program;
  });
  // With the locale `C`, its language is `en-US@posix`, which `Intl` rejects.
  const language = { LC_ALL: 'en_US.UTF-8', LANGUAGE: 'en_US' };
  const env = { ...process.env, ...language, LD_LIBRARY_PATH: join(folder, 'lib'), FONTCONFIG_PATH: folder };
  return { executablePath: join(folder, 'chromium'), env };
}

let shared: Browser | undefined;

/** The one Chromium of this process, which ends with it. Each test closes what it opens there. */
export async function sharedChromium(): Promise<Browser> {
  if (!shared?.isConnected()) shared = await launchChromium();
  return shared;
}

/** @throws Error with the way to get a Chromium, if there is none */
export async function launchChromium(): Promise<Browser> {
  if (!found)
    throw new Error('no Chromium: install one (Debian: apt-get install chromium), or name it in CHROMIUM');
  const { chromium } = await import('playwright-core');
  // Containers often allow no namespaces, and have a small /dev/shm. A page has a process of its own in any case: the limit
  // keeps Chromium from starting one more for a next page.
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--renderer-process-limit=1'];
  return chromium.launch({ ...found, args });
}
