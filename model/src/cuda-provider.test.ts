import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test, vi } from 'vitest';
import { installCudaProvider, onnxruntimeFolder } from './cuda-provider.ts';

/** The command of the image's build that checks the provider's libraries. */
const dockerfile = await readFile(join(import.meta.dirname, '../Dockerfile.cuda'), 'utf8');
const CHECK = /^RUN (.*ldd.*)$/m.exec(dockerfile.replaceAll('\\\n', ''))?.[1] ?? '';
const PROVIDER = /provider=(\S+)/.exec(CHECK)?.[1] ?? '';

/** Runs the check where this file is the provider. @returns what it printed; undefined if the build would go on */
async function refusalOf(provider: Buffer): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'cuda-image-'));
  try {
    await mkdir(dirname(join(folder, PROVIDER)), { recursive: true });
    await writeFile(join(folder, PROVIDER), provider, { mode: 0o755 });
    // As Docker runs a command.
    await promisify(execFile)('/bin/sh', ['-c', CHECK], { cwd: folder });
    return undefined;
  } catch (error) {
    return (error as { stdout: string }).stdout;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The library with another name for one that it needs. */
function needing(library: Buffer, name: string, other: string): Buffer {
  const at = library.indexOf(`\0${name}\0`);
  if (at < 0 || other.length > name.length) throw new Error(`no ${name} to rename`);
  const renamed = Buffer.from(library);
  renamed.fill(0, at + 1, at + 1 + name.length).write(other, at + 1);
  return renamed;
}

test.runIf(process.platform === 'linux')(
  'the build of the CUDA image fails unless all libraries of the CUDA provider, except the driver, are present',
  async () => {
    const library = await readFile(join(onnxruntimeFolder(), 'libonnxruntime.so.1'));
    expect(await refusalOf(library)).toBeUndefined();
    expect(await refusalOf(needing(library, 'libpthread.so.0', 'libcuda.so.1'))).toBeUndefined();
    expect(await refusalOf(needing(library, 'libpthread.so.0', 'libcufft.so.12'))).toMatch(
      /libcufft\.so\.12 => not found/,
    );
    // What is no library needs none.
    expect(await refusalOf(Buffer.from('version https://git-lfs.github.com/spec/v1\n'))).toBeDefined();
  },
);

test('on arm64 nothing is downloaded, because the binding for it has no CUDA', async () => {
  const folder = join(onnxruntimeFolder(), '../..');
  const hasCuda = async (arch: string) => {
    const binding = await readFile(join(folder, 'linux', arch, 'onnxruntime_binding.node'));
    return binding.includes('tensorrt');
  };
  expect([await hasCuda('x64'), await hasCuda('arm64')]).toEqual([true, false]);
  const own = Object.getOwnPropertyDescriptors(process);
  onTestFinished(() => {
    Object.defineProperties(process, { arch: own.arch, platform: own.platform });
    vi.unstubAllEnvs();
  });
  vi.stubEnv('VIDEO_PIPELINE_OFFLINE', '1');
  Object.defineProperty(process, 'arch', { ...own.arch, value: 'arm64' });
  Object.defineProperty(process, 'platform', { ...own.platform, value: 'linux' });
  await expect(installCudaProvider()).rejects.toThrow('onnxruntime-gpu 1.30.0 has no wheel for linux-arm64');
});
