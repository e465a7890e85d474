import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Detector } from '../detector.ts';
import { createApp } from './app.ts';
import { createMetrics } from './metrics.ts';

const log = createLogger('admission');
log.setLogLevel('SILENT');
const BODY_BYTES = 1_000_000;

let app: FastifyInstance;
let port: number;
const sockets: Socket[] = [];
/** What the detector would say of itself. */
const state = { queued: 0, maxQueue: 100, framesPerSecond: 25 };

beforeEach(async () => {
  Object.assign(state, { queued: 0, maxQueue: 100, framesPerSecond: 25 });
  const detector = {
    ...{ model: { name: 'm', version: '1' }, device: 'cpu', isHealthy: true, inputSizes: { count: 1 } },
    detect: async ({ pictures }: { pictures: readonly Uint8Array[] }) =>
      pictures.map(() => ({ width: 1, height: 1, detections: [] })),
  };
  Object.defineProperties(
    detector,
    Object.fromEntries(
      Object.keys(state).map((key) => [key, { get: () => state[key as keyof typeof state] }]),
    ),
  );
  const detectors = () => new Map([['m', detector as unknown as Detector]]);
  const metrics = createMetrics(detectors);
  const limits = { maxBodyBytes: 3e6, maxFrames: 128, maxRequests: 8, requestMs: 30_000 };
  app = await createApp({ detectors, threshold: 0.5, limits, metrics, isReady: () => true }, log);
  port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await app.close();
});

/** A connection to the server, and what came back on it. */
function open() {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  const answers: { status: number; afterMs: number }[] = [];
  const began = performance.now();
  socket.on('error', () => {});
  socket.on('data', (data) => {
    for (const [, status] of String(data).matchAll(/HTTP\/1\.1 (\d+)/g))
      answers.push({ status: Number(status), afterMs: performance.now() - began });
  });
  return { socket, answers };
}

/** Headers of a request whose body does not follow. */
const headers = (bytes = BODY_BYTES, more = '') =>
  `POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${more}Content-Length: ${bytes}\r\n\r\n`;

async function answered(answers: unknown[], count = 1): Promise<void> {
  for (let waited = 0; answers.length < count && waited < 10_000; waited += 10) await sleep(10);
}

/** @returns the status of the answer that comes before any body was sent */
async function answerTo(bytes: string) {
  const { socket, answers } = open();
  socket.write(bytes);
  await answered(answers);
  return answers[0]?.status;
}

/** Whether the server waits for the body. */
async function isLetIn(bytes: string): Promise<boolean> {
  const { socket, answers } = open();
  socket.write(bytes);
  await Promise.race([answered(answers), sleep(250)]);
  return answers.length === 0;
}

test('a request for which the queue has no room is rejected before its body is read', async () => {
  state.queued = 99;
  expect(await answerTo(headers())).toBe(429);
  // Where there is room, the body is waited for.
  state.queued = 10;
  expect(await isLetIn(headers())).toBe(true);
});

test('bodies that are being read count as queued frames', async () => {
  state.maxQueue = 35;
  expect(await isLetIn(headers())).toBe(true);
  expect(await isLetIn(headers())).toBe(true);
  expect(await answerTo(headers())).toBe(429);
});

test('bodies being read are limited to a few of the largest size', async () => {
  state.maxQueue = 1_000;
  for (let body = 0; body < 4; body++) expect(await isLetIn(headers(3e6))).toBe(true);
  expect(await answerTo(headers(3e6))).toBe(429);
});

test('a client that disconnects during its upload frees its room', async () => {
  state.maxQueue = 1_000;
  for (let body = 0; body < 4; body++) expect(await isLetIn(headers(3e6))).toBe(true);
  for (const socket of sockets) socket.destroy();
  await sleep(50);
  expect(await isLetIn(headers(3e6))).toBe(true);
});

test('a request that can not be answered before its deadline is rejected at once', async () => {
  state.queued = 50;
  expect(await answerTo(headers(1000, 'x-request-timeout-ms: 1000\r\n'))).toBe(429);
  expect(await isLetIn(headers(1000, 'x-request-timeout-ms: 5000\r\n'))).toBe(true);
});

test('a client that retries too early gets its response only after Retry-After, and others are served', async () => {
  state.queued = 100;
  const { socket, answers } = open();
  let meanwhile = 0;
  for (let request = 0; request < 3; request++) {
    socket.write(`${headers(10)}{}        `);
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
    if (request > 0 && answers.length === request) meanwhile += 1;
    await answered(answers, request + 1);
  }
  // The first is answered at once, those after it a second after the one before.
  expect(meanwhile).toBeGreaterThan(0);
  expect(answers.map(({ status }) => status)).toEqual([429, 429, 429]);
  expect(answers[2]?.afterMs).toBeGreaterThan(1_900);
});

test('metrics count rejected requests by the limit that rejected them', async () => {
  state.queued = 99;
  await answerTo(headers());
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(metrics).toContain('inference_errors_total{kind="MAX_QUEUED_FRAMES"} 1');
});

test('clients that disconnect while they wait for Retry-After use no room', async () => {
  state.queued = 100;
  for (let client = 0; client < 8; client++) {
    const { socket, answers } = open();
    socket.write(`${headers(10)}{}        `);
    await answered(answers);
    socket.write(headers());
  }
  await sleep(100);
  for (const socket of sockets) socket.destroy();
  state.queued = 0;
  await sleep(1_200);
  expect(await isLetIn(headers())).toBe(true);
});

test.each([
  ['application/vnd.sagemaker-triton.binary+json', 'x', 'the header is not a JSON object'],
  ['image/JPEG', '', 'the body is empty'],
  [undefined, '', 'the body is empty'],
])(
  "an invocation of type %s with the body '%s' gets 400, and is no server error",
  async (type, body, error) => {
    const headers = type === undefined ? {} : { 'content-type': type };
    const { statusCode, json } = await app.inject({ method: 'POST', url: '/invocations', headers, body });
    expect([statusCode, json()]).toEqual([400, { error }]);
  },
);
