import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TuningRuntime } from '../../test/tuning-runtime.ts';
import { Detector } from '../detector.ts';
import type { ModelFile } from '../model-file.ts';
import { createApp } from './app.ts';
import { createMetrics } from './metrics.ts';

const SIDE = 64;
const model = {
  ...{ name: 'm', version: '1', head: 'yolov8', fit: 'centre', classNames: [], evidence: { card: {} } },
  inputSize: { kind: 'rectangle', longest: SIDE, stride: 32 },
  input: { name: 'images', shape: ['n', 3, 'h', 'w'] },
} as unknown as ModelFile;
const log = createLogger('tensors');
log.setLogLevel('SILENT');

/** One that is asked keeps its thread until it is told to answer. */
class BusyRuntime extends TuningRuntime {
  readonly asked: PromiseWithResolvers<[]>[] = [];
  override ask(): Promise<[]> {
    const answer = Promise.withResolvers<[]>();
    this.asked.push(answer);
    return answer.promise;
  }
}

let runtime: BusyRuntime;
let detector: Detector;
let app: FastifyInstance;
let url: string;

beforeEach(() => serve(false));
afterEach(async () => {
  for (const { resolve } of runtime.asked) resolve([]);
  app.server.closeAllConnections();
  await app.close();
  await detector.close();
});

async function serve(tunesShapes: boolean): Promise<void> {
  const detectors = new Map<string, Detector>();
  const metrics = createMetrics(() => detectors);
  runtime = new BusyRuntime(1);
  detector = new Detector({
    ...{
      model,
      pool: runtime,
      device: 'cpu',
      precision: 'f32',
      tunesShapes,
      batchSizes: [1],
      batchDelayMs: 0,
    },
    ...{ maxQueue: 4, maxPixels: 1e6, resize: 'fast' },
    onWarmUpError() {},
    ...metrics.observers,
  });
  detectors.set('m', detector);
  const limits = { maxBodyBytes: 4e6, maxFrames: 128, maxRequests: 64, requestMs: 30_000 };
  const service = { detectors: () => detectors, threshold: 0.5, limits, metrics, isReady: () => true };
  app = await createApp(service, log);
  url = await app.listen({ host: '127.0.0.1', port: 0 });
}

async function infer(
  [n, height, width]: readonly [number, number, number],
  signal?: AbortSignal,
  outputs?: readonly string[],
) {
  const shape = [n, 3, height, width];
  const values = Buffer.alloc(4 * n * 3 * height * width);
  const input = {
    ...{ name: 'images', datatype: 'FP32', shape },
    parameters: { binary_data_size: values.length },
  };
  const parameters = { binary_data_output: true };
  const wanted = outputs?.map((name) => ({ name, parameters: { binary_data: true } }));
  const header = Buffer.from(JSON.stringify({ inputs: [input], parameters, outputs: wanted }));
  const headers = { 'inference-header-content-length': String(header.length) };
  const body = Buffer.concat([header, values]);
  const answer = await fetch(`${url}/v2/models/m/infer`, {
    ...{ method: 'POST', headers, body },
    ...(signal && { signal }),
  });
  return { status: answer.status, text: await answer.text() };
}

const until = async (isTrue: () => boolean) => {
  for (let waited = 0; !isTrue() && waited < 10_000; waited += 5) await sleep(5);
  expect(isTrue()).toBe(true);
};

test('tensors wait in the same bounded queue as pictures', async () => {
  const begun = [infer([1, SIDE, SIDE]), infer([1, SIDE, SIDE])];
  await until(() => runtime.asked.length === 2);
  const waiting = infer([3, SIDE, SIDE]);
  await until(() => detector.queued === 3);
  expect(await infer([2, SIDE, SIDE])).toMatchObject({
    status: 429,
    text: expect.stringContaining('MAX_QUEUED_FRAMES'),
  });
  const last = infer([1, SIDE, SIDE]);
  await until(() => detector.queued === 4);
  // Each thread has one alone: of the others, those whose clients go can still be dropped.
  expect(runtime.asked).toHaveLength(2);
  for (let done = 0; done < 4; done++) {
    await until(() => runtime.asked.length > done);
    runtime.asked[done]?.resolve([]);
  }
  const statuses = (await Promise.all([...begun, waiting, last])).map(({ status }) => status);
  expect(statuses).toEqual([200, 200, 200, 200]);
  expect(detector.queued).toBe(0);
});

test('a tensor of a disconnected client is never run, and frees its slot', async () => {
  const begun = [infer([1, SIDE, SIDE]), infer([1, SIDE, SIDE])];
  await until(() => runtime.asked.length === 2);
  for (let round = 0; round < 3; round++) {
    const gone = new AbortController();
    const left = infer([4, SIDE, SIDE], gone.signal).catch(() => 'left');
    await until(() => detector.queued === 4);
    gone.abort();
    expect(await left).toBe('left');
    await until(() => detector.queued === 0);
  }
  for (const { resolve } of runtime.asked) resolve([]);
  expect((await Promise.all(begun)).map(({ status }) => status)).toEqual([200, 200]);
  expect(runtime.asked).toHaveLength(2);
});

test('a tensor larger than the input of pictures is rejected', async () => {
  for (const size of [
    [1, SIDE + 32, SIDE],
    [1, 32, 4096],
    [1, 33, 32],
  ] as const) {
    const refused = expect.stringContaining('multiples of 32 up to 64');
    expect(await infer(size)).toMatchObject({ status: 400, text: refused });
  }
  expect(runtime.asked).toHaveLength(0);
});

test('a request that names an output twice is rejected, and runs nothing', async () => {
  const refused = { status: 400, text: expect.stringContaining('asked for twice') };
  expect(await infer([1, SIDE, SIDE], undefined, ['boxes', 'boxes'])).toMatchObject(refused);
  expect(runtime.asked).toHaveLength(0);
});

test('a device that is tuned for shapes rejects a tensor of another shape', async () => {
  await app.close();
  await serve(true);
  await detector.inputSizes.warmUp();
  for (const size of [
    [1, 32, 32],
    [3, SIDE, SIDE],
  ] as const)
    expect(await infer(size)).toMatchObject({ status: 400, text: expect.stringContaining('not yet to') });
  const square = infer([1, SIDE, SIDE]);
  await until(() => runtime.asked.length === 1);
  runtime.asked[0]?.resolve([]);
  expect((await square).status).toBe(200);
});
