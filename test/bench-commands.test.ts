import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { peerPython } from './bench/peers/python.ts';
import { staysFlat, thirds } from './bench/processes.ts';

const root = resolve(import.meta.dirname, '..');
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};
const commands = Object.entries(scripts).flatMap(([name, script]) => {
  const file = /^exec node (?:--\S+ )*(test\/(?:bench|faults)\/[\w-]+\.ts)$/.exec(script)?.[1];
  return file ? [{ name, file }] : [];
});

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

function run(file: string, args: string[]): Promise<Outcome> {
  return new Promise((done) => {
    execFile(process.execPath, [join(root, file), ...args], (error, stdout, stderr) =>
      done({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

test('there are commands that measure', () => {
  expect(commands.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['bench', 'bench:model', 'test:faults']),
  );
});

test.concurrent.each(commands)('npm run $name -- --help', async ({ name, file }) => {
  const { code, stdout } = await run(file, ['--help']);
  expect(stdout).toContain(`Usage: npm run ${name} -- [options]`);
  expect(code).toBe(0);
});

test('memory that grows is not flat, whatever it was at first', () => {
  expect(thirds([428, 440, 451, 452, 454, 453])).toEqual([434, 453.5]);
  expect(staysFlat(thirds([428, 440, 451, 452, 454, 453]))).toBe(true);
  expect(staysFlat(thirds([428, 450, 480, 520, 550, 580]))).toBe(false);
});

test('an option that there is not is refused', async () => {
  const outcome = await run('test/bench/model.ts', ['--fast']);
  expect(outcome).toMatchObject({ code: 1, stderr: expect.stringContaining("unknown option '--fast'") });
});

test.each(['0', '-3', 'many', '1e999'])(
  '%s frames are refused before anything is measured',
  async (frames) => {
    const { code, stderr } = await run('test/bench/model.ts', [`--frames=${frames}`]);
    expect(stderr).toContain('must be a whole number from 1 on');
    expect(code).toBe(1);
  },
);

test('a peer is not fetched where that is forbidden', async () => {
  vi.stubEnv('VIDEO_PIPELINE_OFFLINE', '1');
  await expect(peerPython({ name: 'absent', packages: ['absent==1'] })).rejects.toThrow(
    'absent is not installed, and VIDEO_PIPELINE_OFFLINE forbids to fetch it',
  );
  vi.unstubAllEnvs();
});
