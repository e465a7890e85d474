import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TuningRuntime } from '../../test/tuning-runtime.ts';
import { Detector } from '../detector.ts';
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

const runtime = new TuningRuntime(TUNING_MS);
const detectors = new Map<string, Detector>();
const metrics = createMetrics(() => detectors);
const detector = new Detector({
  ...{
    model,
    pool: runtime,
    device: 'cuda',
    precision: 'f32',
    tunesShapes: true,
    batchSizes: [25, 50],
    batchDelayMs: 2_000,
  },
  ...{ maxQueue: 2000, maxPixels: 1e6, resize: 'fast', classThresholds: new Map() },
  onWarmUpError() {},
  ...metrics.observers,
});
let app: FastifyInstance;

beforeAll(async () => {
  const limits = { maxBodyBytes: 32e6, maxFrames: 128, maxRequests: 64, requestMs: 30_000 };
  const service = { detectors: () => detectors, threshold: 0.5, limits, metrics, isReady: () => true };
  app = await createApp(service, log);
});
afterAll(async () => {
  await app.close();
  await detector.close();
});

const picture = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#804020' } })
    .jpeg()
    .toBuffer();

async function predict(pictures: Buffer[]) {
  const frames = pictures.map((jpeg, index) => ({
    frame_number: index,
    frame_data: jpeg.toString('base64'),
  }));
  const response = await app.inject({ method: 'POST', url: '/predict', payload: { stream_id: 's', frames } });
  return { status: response.statusCode, body: response.json() };
}

const health = async () => (await app.inject('/health')).statusCode;
const awaited = () => runtime.tunings.filter(({ isAwaited }) => isAwaited);

test('while it warms up, /health says so and requests are told', async () => {
  expect((await app.inject('/health')).json()).toEqual({ status: 'warming up' });
  expect(await predict([await picture(64, 36)])).toMatchObject({ status: 503 });
  const warming = detector.warmUp();
  await sleep(TUNING_MS);
  expect(await health()).toBe(503);
  await warming;
  detectors.set('m', detector);
  expect(await health()).toBe(200);
});

test('once /health is 200, no request of any size, number or shape of pictures waits for tuning', async () => {
  const [wide, narrow, tall, square] = await Promise.all([
    picture(128, 72),
    picture(96, 72),
    picture(72, 128),
    picture(50, 50),
  ]);
  const shown = [wide, narrow, tall, square] as Buffer[];
  for (let round = 0; round < 3; round++) {
    const counts = [1, 2, 3, 5, 7, 11, 17, 25, 26, 40, 60];
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

test('another shape of input is made ready in the background, and counted', async () => {
  const before = detector.inputSizes;
  const upright = await picture(36, 128);
  await predict([upright]);
  const isReady = (shape: string) => runtime.tunings.filter((tuning) => tuning.shape === shape).length === 2;
  while (!isReady('50x64x32x3') || detector.inputSizes === before) await sleep(5);
  await predict([upright]);
  expect(awaited()).toEqual([]);
  const { body } = await app.inject('/metrics');
  expect(body).toContain(`inference_input_sizes{model="m"} ${detector.inputSizes}`);
});

test('a batch waits for the pictures of its request that are being decoded, and for nothing else', async () => {
  const jpeg = await picture(128, 72);
  const batches = async () => {
    const { body } = await app.inject('/metrics');
    return Number(/^inference_batch_size_count (\d+)$/m.exec(body)?.[1]);
  };
  const before = await batches();
  await predict(Array.from({ length: 25 }, () => jpeg));
  expect((await batches()) - before).toBe(1);
});
