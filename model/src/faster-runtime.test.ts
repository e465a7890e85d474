import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { DeviceUse, StartOptions } from './device-use.ts';
import { fasterRuntime } from './faster-runtime.ts';

let cache: string;
const file = () => join(cache, 'model', 'runtimes.json');
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), 'faster-'));
  process.env.VIDEO_PIPELINE_CACHE = cache;
});
/** A clock that only frames move: on a busy machine two real runtimes differ by chance. */
let clock = 0;
beforeEach(async () => {
  await rm(file(), { force: true });
  vi.spyOn(performance, 'now').mockImplementation(() => clock);
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => rm(cache, { recursive: true }));

/** A runtime that takes so long for a frame, and counts them. */
function runtime(device: 'cpu' | 'openvino', ms: number) {
  const counted = { frames: 0 };
  const pool = {
    size: 1,
    async run() {
      counted.frames++;
      clock += ms;
    },
  };
  return { use: { device, precision: 'f32', pool } as unknown as DeviceUse, counted };
}

const notes: string[] = [];
const options = (version: string) =>
  ({
    model: { version, inputSize: { kind: 'fixed', width: 32, height: 32 }, fit: 'centre' },
    note: (line: string) => notes.push(line),
  }) as unknown as StartOptions;

test.each([
  [20, 5, 'openvino'],
  [5, 20, 'cpu'],
  // Not worth it.
  [20, 19.5, 'cpu'],
])('with %d and %d ms a frame, %s is chosen', async (first, second, taken) => {
  const [a, b] = [runtime('cpu', first), runtime('openvino', second)];
  const [chosen, other] = await fasterRuntime(a.use, b.use, options('1'), 100);
  expect(chosen.device).toBe(taken);
  expect(new Set([chosen, other])).toEqual(new Set([a.use, b.use]));
});

test('the measurement is cached for each model, and reported', async () => {
  const again = () => [runtime('cpu', 5), runtime('openvino', 20)] as const;
  const [first] = again();
  await fasterRuntime(first.use, again()[1].use, options('1'), 100);
  expect(first.counted.frames).toBeGreaterThan(10);
  const [second, openvino] = again();
  notes.length = 0;
  const [chosen] = await fasterRuntime(second.use, openvino.use, options('1'), 100);
  expect([chosen.device, second.counted.frames]).toEqual(['cpu', 0]);
  expect(notes).toEqual([expect.stringMatching(/^cpu f32: \d/), expect.stringMatching(/^openvino f32: \d/)]);
  const [other] = again();
  await fasterRuntime(other.use, openvino.use, options('2'), 100);
  expect(other.counted.frames).toBeGreaterThan(0);
  expect(Object.keys(JSON.parse(await readFile(file(), 'utf8')))).toHaveLength(2);
});

test('a truncated cache of measurements is written anew', async () => {
  await fasterRuntime(runtime('cpu', 5).use, runtime('openvino', 20).use, options('1'), 100);
  await writeFile(file(), '{"1');
  const { use, counted } = runtime('cpu', 5);
  await fasterRuntime(use, runtime('openvino', 20).use, options('1'), 100);
  expect(counted.frames).toBeGreaterThan(0);
  expect(Object.keys(JSON.parse(await readFile(file(), 'utf8')))).toHaveLength(1);
});

test('without a writable cache the runtimes are measured all the same', async () => {
  vi.stubEnv('VIDEO_PIPELINE_CACHE', process.execPath);
  const [a, b] = [runtime('cpu', 20), runtime('openvino', 5)];
  expect((await fasterRuntime(a.use, b.use, options('1'), 100))[0]).toBe(b.use);
  vi.unstubAllEnvs();
});
