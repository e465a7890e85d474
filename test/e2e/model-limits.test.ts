import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { writeModel } from '../faults/numbered.ts';
import { type ModelProcess, startModel } from './model-process.ts';

let server: ModelProcess;
let small: Buffer;

beforeAll(async () => {
  server = await startModel(['--threads', '1'], {
    MAX_BODY_BYTES: '200000',
    MAX_REQUEST_FRAMES: '40',
    MAX_CONCURRENT_REQUESTS: '3',
    MAX_QUEUED_FRAMES: '30',
    MAX_FRAME_PIXELS: '1000000',
  });
  small = await picture(320, 240);
});
afterAll(() => server?.stop());

function picture(width: number, height: number): Promise<Buffer> {
  const background = { r: 20, g: 90, b: 30 };
  return sharp({ create: { width, height, channels: 3, background } })
    .jpeg()
    .toBuffer();
}

function predictBody(pictures: Buffer[]): string {
  const frames = pictures.map((jpeg, index) => ({
    frame_number: index,
    frame_data: jpeg.toString('base64'),
  }));
  return JSON.stringify({ stream_id: 'a', frames });
}

async function predict(pictures: Buffer[], url = server.url) {
  const response = await fetch(new URL('/predict', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: predictBody(pictures),
  });
  const { status, headers } = response;
  return { status, retryAfter: headers.get('retry-after'), body: await response.json() };
}

const expectGoodAnswer = async () => {
  const answer = await predict([small]);
  expect(answer.status).toBe(200);
  expect(answer.body.results[0]).toMatchObject({ width: 320, height: 240 });
};

test('a body over MAX_BODY_BYTES gets 413', async () => {
  const answer = await predict([Buffer.alloc(200_000)]);
  expect(answer).toMatchObject({ status: 413, body: { limit: 'MAX_BODY_BYTES' } });
  await expectGoodAnswer();
});

test('more frames than MAX_REQUEST_FRAMES get 413', async () => {
  const answer = await predict(Array.from({ length: 41 }, () => small));
  expect(answer).toMatchObject({ status: 413, body: { limit: 'MAX_REQUEST_FRAMES' } });
  expect(answer.body.error).toContain('41');
  await expectGoodAnswer();
});

test('a frame over MAX_FRAME_PIXELS gets its own error, and is not decoded', async () => {
  const { status, body } = await predict([await picture(1200, 1000), small]);
  expect(status).toBe(200);
  expect(body.results[0].error).toContain('MAX_FRAME_PIXELS');
  expect(body.results[1]).toMatchObject({ width: 320, height: 240 });
});

test('a request for which the queue has no room gets 429 with Retry-After', async () => {
  const answer = await predict(Array.from({ length: 35 }, () => small));
  expect(answer).toMatchObject({ status: 429, retryAfter: '1', body: { limit: 'MAX_QUEUED_FRAMES' } });
  await expectGoodAnswer();
});

test('under overload each request soon gets its result or 429', async () => {
  const refused = async () => {
    const metrics = await (await fetch(new URL('/metrics', server.url))).text();
    return Number(/inference_errors_total\{kind="MAX_CONCURRENT_REQUESTS"\} (\d+)/.exec(metrics)?.[1] ?? 0);
  };
  const before = await refused();
  const began = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => predict(Array.from({ length: 5 }, () => small))),
  );
  const statuses = answers.map(({ status }) => status);
  expect(new Set(statuses)).toEqual(new Set([200, 429]));
  const limits = answers.map(({ body }) => body.limit).filter(Boolean);
  expect(limits).toContain('MAX_CONCURRENT_REQUESTS');
  const counted = (await refused()) - before;
  expect(counted).toBe(limits.filter((limit) => limit === 'MAX_CONCURRENT_REQUESTS').length);
  // At most three requests of five frames are ever under way.
  expect(performance.now() - began).toBeLessThan(20_000);
  await expectGoodAnswer();
});

test('a client with one frame does not wait for all frames of another client of the same address', async () => {
  const answered: string[] = [];
  const ask = async (client: string, frames: number) => {
    const body = predictBody(Array.from({ length: frames }, () => small));
    const headers = { 'content-type': 'application/json', 'x-client-id': client };
    const response = await fetch(new URL('/predict', server.url), { method: 'POST', headers, body });
    expect((await response.json()).results).toHaveLength(frames);
    answered.push(client);
  };
  const before = await inferredBy(server.url);
  const huge = ask('huge', 15);
  await inferred(server.url, before + 1);
  await Promise.all([huge, ask('small', 1)]);
  expect(answered).toEqual(['small', 'huge']);
});

test('the runtime gets frames in the sizes that --batch-sizes prefers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'batching-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const model = join(folder, 'small.onnx');
  await writeModel(model);
  const sizes = ['--batch-sizes', '4', '--batch-delay', '2000'];
  const batching = await startModel(['--threads', '1', '--model', model, ...sizes]);
  try {
    const twelve = Array.from({ length: 12 }, () => small);
    await predict(twelve, batching.url);
    const metrics = await (await fetch(new URL('/metrics', batching.url))).text();
    expect(metrics).toMatch(/^inference_batch_size_sum 12$/m);
    expect(metrics).toMatch(/^inference_batch_size_count 3$/m);
    expect(metrics).toMatch(/^inference_batch_size_bucket\{le="2"\} 0$/m);
  } finally {
    await batching.stop();
  }
});

test('at SIGTERM the server finishes its requests, and then exits with 0', async () => {
  const own = await startModel(['--threads', '1'], { SHUTDOWN_GRACE_SECONDS: '20' });
  const frames = Array.from({ length: 10 }, (_, index) => ({
    frame_number: index,
    frame_data: small.toString('base64'),
  }));
  const request = fetch(new URL('/predict', own.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ stream_id: 'a', frames }),
  });
  await inferred(own.url, 3);
  const stopped = own.stop();
  const response = await request;
  expect(response.status).toBe(200);
  expect((await response.json()).results).toHaveLength(10);
  expect(await stopped).toBe(0);
  await expect(fetch(new URL('/health', own.url))).rejects.toThrow();
});

/** Waits until so many frames have been inferred. */
async function inferred(url: string, count: number): Promise<void> {
  while ((await inferredBy(url)) < count) await sleep(10);
}

async function inferredBy(url: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  return Number(/inference_batch_size_sum (\d+)/.exec(text)?.[1]);
}
