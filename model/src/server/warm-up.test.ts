import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { TuningRuntime } from '../../test/tuning-runtime.ts';
import { Detector, type DetectorOptions } from '../detector.ts';
import { GPU_BATCH } from '../device.ts';
import type { ModelFile } from '../model-file.ts';
import { createApp } from './app.ts';
import { createMetrics } from './metrics.ts';

/** So long, each new shape of input takes the runtime; seconds on a GPU. */
const TUNING_MS = 30;
const model = {
  name: 'm',
  version: '1',
  head: 'yolov8',
  inputSize: { kind: 'rectangle', longest: 64, stride: 32 },
  fit: 'centre',
  batchSize: undefined,
  classNames: [],
} as unknown as ModelFile;
const log = createLogger('warm-up');
log.setLogLevel('SILENT');

const detectors = new Map<string, Detector>();
const metrics = createMetrics(() => detectors);
const options: Omit<DetectorOptions, 'pool'> = {
  ...{
    model,
    device: 'cuda',
    precision: 'f32' as const,
    tunesShapes: true,
    ...{ batchSizes: [25, 50], batchDelayMs: 2_000 },
  },
  ...{ maxQueue: 2000, maxPixels: 1e6, resize: 'fast' as const },
  onWarmUpError() {},
  ...metrics.observers,
};
let app: FastifyInstance;
let runtime: TuningRuntime;
let detector: Detector;

beforeAll(async () => {
  const limits = { maxBodyBytes: 32e6, maxFrames: 128, maxRequests: 64, requestMs: 30_000 };
  const service = { detectors: () => detectors, threshold: 0.5, limits, metrics, isReady: () => true };
  app = await createApp(service, log);
});
afterAll(() => app.close());
beforeEach(async () => {
  runtime = new TuningRuntime(TUNING_MS);
  detector = new Detector({ ...options, pool: runtime });
  await detector.inputSizes.warmUp();
  detectors.set('m', detector);
});
afterEach(() => detector.close());

const picture = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#804020' } })
    .jpeg()
    .toBuffer();

const bodyOf = (pictures: Buffer[]) => ({
  stream_id: 's',
  frames: pictures.map((jpeg, index) => ({ frame_number: index, frame_data: jpeg.toString('base64') })),
});

async function predict(pictures: Buffer[], headers: Record<string, string> = {}) {
  const payload = bodyOf(pictures);
  const response = await app.inject({ method: 'POST', url: '/predict', payload, headers });
  return { status: response.statusCode, body: response.json() };
}

const health = async () => (await app.inject('/health')).statusCode;
const awaited = () => runtime.tunings.filter(({ isAwaited }) => isAwaited);

test('during the warm-up /health reports it and requests get 503', async () => {
  detectors.clear();
  const cold = new Detector({ ...options, pool: new TuningRuntime(TUNING_MS) });
  expect((await app.inject('/health')).json()).toEqual({ status: 'warming up' });
  expect(await predict([await picture(64, 36)])).toMatchObject({ status: 503 });
  const warming = cold.inputSizes.warmUp();
  await sleep(TUNING_MS);
  expect(await health()).toBe(503);
  await warming;
  detectors.set('m', cold);
  expect(await health()).toBe(200);
  await cold.close();
});

test('after /health is 200, no request of any size, number or shape waits for tuning', async () => {
  const [wide, narrow, tall, square] = await Promise.all([
    picture(128, 72),
    picture(96, 72),
    picture(72, 128),
    picture(50, 50),
  ]);
  const shown = [wide, narrow, tall, square] as Buffer[];
  for (let round = 0; round < 3; round++) {
    const counts = [1, 2, 3, 5, 7, 11, 17, 25, 26, 40, 50, 60];
    const answers = await Promise.all(
      counts.map((count) =>
        predict(Array.from({ length: count }, (_, index) => shown[(index + count) % 4] as Buffer)),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(counts.map(() => 200));
    expect(answers.map(({ body }) => body.results.length)).toEqual(counts);
  }
  expect(awaited()).toEqual([]);
});

test("pictures of one camera's shape come in one shape to a GPU, however many a request has", async () => {
  const gpu = new TuningRuntime(TUNING_MS);
  const usual = new Detector({ ...options, ...GPU_BATCH, batchDelayMs: 2_000, pool: gpu });
  await usual.inputSizes.warmUp();
  detectors.set('m', usual);
  const jpeg = await picture(128, 72);
  const counts = [1, 3, 8, 17, 25, 40, 60];
  const answers = await Promise.all(counts.map((count) => predict(Array(count).fill(jpeg))));
  expect(answers.map(({ body }) => body.results.length)).toEqual(counts);
  expect(gpu.changes).toBe(0);
  await usual.close();
});

test('a new input shape is tuned in the background, and counted', async () => {
  const before = detector.inputSizes.count;
  const upright = await picture(36, 128);
  await predict([upright]);
  const isReady = (shape: string) => runtime.tunings.filter((tuning) => tuning.shape === shape).length === 2;
  while (!isReady('50x64x32x3') || detector.inputSizes.count === before) await sleep(5);
  await predict([upright]);
  expect(awaited()).toEqual([]);
  const { body } = await app.inject('/metrics');
  expect(body).toContain(`inference_input_sizes{model="m"} ${detector.inputSizes.count}`);
});

test('a batch waits only for the pictures of its own request that are being decoded', async () => {
  const jpeg = await picture(128, 72);
  const batches = async () => {
    const { body } = await app.inject('/metrics');
    return Number(/^inference_batch_size_count (\d+)$/m.exec(body)?.[1]);
  };
  const before = await batches();
  await predict(Array.from({ length: 25 }, () => jpeg));
  expect((await batches()) - before).toBe(1);
});

test('one truncated picture of 25 gets its own error, and its batch needs no new tuning', async () => {
  const jpeg = await picture(128, 72);
  const pictures = Array.from({ length: 25 }, (_, index) => (index === 7 ? jpeg.subarray(0, 300) : jpeg));
  const { status, body } = await predict(pictures);
  expect(status).toBe(200);
  const failed = body.results.filter((one: { error?: string }) => one.error !== undefined);
  expect(failed).toEqual([{ frame_number: 7, error: expect.stringContaining('not a picture') }]);
  expect(awaited()).toEqual([]);
});

test('more sizes than can be tuned are served without a wait, and tuned sizes stay in use', async () => {
  const shapes = await Promise.all(Array.from({ length: 12 }, (_, index) => picture(40 + 8 * index, 40)));
  const usual = await picture(128, 72);
  const answers = await Promise.all(
    [...shapes, ...shapes.map(() => usual)].map((jpeg) => predict(Array(5).fill(jpeg))),
  );
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(awaited()).toEqual([]);
});

test('pictures of a disconnected client or with a passed deadline are dropped, and others get their results', async () => {
  const [warn, error] = [vi.spyOn(log, 'warn'), vi.spyOn(log, 'error')];
  const jpeg = await picture(128, 72);
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  runtime.pause();
  const gone = new AbortController();
  const headers = { 'content-type': 'application/json', 'x-client-id': 'gone' };
  const lost = [128, 128, 26].map((count) => {
    const body = JSON.stringify(bodyOf(Array(count).fill(jpeg)));
    return fetch(`${url}/predict`, { method: 'POST', body, headers, signal: gone.signal });
  });
  await expect.poll(() => detector.queued).toBeGreaterThan(20);
  const late = predict(Array(26).fill(jpeg), { 'x-request-timeout-ms': '1500', 'x-client-id': 'late' });
  const other = predict(Array(26).fill(jpeg), { 'x-client-id': 'other' });
  expect((await late).status).toBe(504);
  gone.abort();
  for (const one of lost) await expect(one).rejects.toThrow();
  await expect.poll(() => detector.queued).toBeLessThanOrEqual(26);
  const before = runtime.frames;
  runtime.resume();
  expect((await other).body.results).toHaveLength(26);
  // Two batches for each thread had begun before.
  expect(runtime.frames - before).toBeLessThanOrEqual(26 + 4 * 50 + 50);
  // That a client has no more time is no fault of the server.
  expect(warn.mock.calls).toEqual([['POST /predict: the deadline of the request has passed']]);
  expect(error).not.toHaveBeenCalled();
  expect(awaited()).toEqual([]);
});

test('a model that is replaced under load is tuned before its first request', async () => {
  const next = new TuningRuntime(TUNING_MS);
  const swapped = new Detector({ ...options, pool: next });
  const jpeg = await picture(128, 72);
  let isSwapped = false;
  const client = async (count: number) => {
    while (!isSwapped) expect((await predict(Array(count).fill(jpeg))).status).toBe(200);
    expect((await predict(Array(count).fill(jpeg))).status).toBe(200);
  };
  const clients = [1, 5, 26, 50].map(client);
  // As a folder of models does: loaded and tuned beside the old one, which ends when its pictures are done.
  await swapped.inputSizes.warmUp();
  detectors.set('m', swapped);
  isSwapped = true;
  await detector.close();
  await Promise.all(clients);
  expect([...awaited(), ...next.tunings.filter(({ isAwaited }) => isAwaited)]).toEqual([]);
  expect(next.frames).toBeGreaterThan(50);
  await swapped.close();
});
