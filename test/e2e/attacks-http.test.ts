import { createLogger } from '@video-pipeline/telemetry';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startHealthServer } from '../../ingest-host/src/health.ts';
import { createStats } from '../../ingest-host/src/stats.ts';
import type { Detector } from '../../model/src/detector.ts';
import { createApp } from '../../model/src/server/app.ts';
import { createMetrics } from '../../model/src/server/metrics.ts';
import { startConsole } from '../../packages/console/src/console.ts';
import { httpAttacks, request, send } from '../support/http-attacks.ts';

const log = createLogger('attacks');
log.setLogLevel('SILENT');
/** Longest time to send a request to the model server, milliseconds. */
const REQUEST_MS = 2_000;
const MAX_REQUESTS = 3;

/** Base URL by listener. */
const urls: Record<string, string> = {};
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const model = await modelServer();
  urls.model = await model.listen({ host: '127.0.0.1', port: 0 });
  const ingest = await startHealthServer({ host: '127.0.0.1', port: 0 }, flowing(), new Registry());
  urls.ingest = ingest.url;
  const away = { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1', AWS_ENDPOINT_URL: 'http://127.0.0.1:1' };
  const console = await startConsole({ port: 0, host: '127.0.0.1', token: 'secret', log, env: away });
  urls.console = console.url;
  stops.push(
    () => model.close(),
    () => ingest.close(),
    () => console.close(),
  );
});
afterAll(() => Promise.all(stops.map((stop) => stop())));

/** The model's HTTP server on a detector that sees nothing. */
function modelServer() {
  const detector = {
    model: { name: 'm', version: '1', head: 'yolov8' },
    device: 'cpu',
    isHealthy: true,
    queued: 0,
    detect: async ({ pictures }: { pictures: readonly Uint8Array[] }) =>
      pictures.map(() => ({ width: 1, height: 1, detections: [] })),
  } as unknown as Detector;
  const detectors = () => new Map([['m', detector]]);
  const limits = { maxBodyBytes: 32e6, maxFrames: 128, maxRequests: MAX_REQUESTS, requestMs: REQUEST_MS };
  const metrics = createMetrics(detectors);
  return createApp({ detectors, threshold: 0.5, limits, metrics, isReady: () => true }, log);
}

function flowing() {
  return new Map([['gate', { ...createStats(), state: 'flowing' as const }]]);
}

test.each(['model', 'ingest', 'console'])(
  'the HTTP server of %s survives malformed requests, and its responses reveal nothing',
  async (name) => {
    await Promise.all(
      httpAttacks.map(async ([what, bytes]) => {
        const answer = await send(urls[name] ?? '', bytes);
        expect(answer, what).not.toMatch(/^HTTP\/1.1 (200|101)/);
        expect(answer, what).not.toMatch(/node_modules|root:x|"private"|secret/);
        expect((await fetch(`${urls[name]}/health`)).status, what).toBe(200);
      }),
    );
  },
);

describe('the model server', () => {
  const predict = (body: string) =>
    fetch(`${urls.model}/predict`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const good = JSON.stringify({ stream_id: 'gate', frames: [{ frame_number: 0, frame_data: '/9j/' }] });

  test('closes connections that send a byte now and then, and serves other clients again', async () => {
    const head = request(
      'POST /predict HTTP/1.1',
      'Content-Type: application/json',
      'Content-Length: 100000',
    );
    const slow = Array.from({ length: MAX_REQUESTS }, () => send(urls.model ?? '', head, 10_000));
    await expect.poll(async () => (await predict(good)).status).toBe(429);
    const began = performance.now();
    for (const answer of await Promise.all(slow)) expect(answer).toContain('408');
    expect(performance.now() - began).toBeLessThan(3 * REQUEST_MS);
    expect((await predict(good)).status).toBe(200);
  });

  test.each([
    ['millions of brackets', '['.repeat(5e6)],
    ['millions of numbers', `[${'1,'.repeat(2e6)}1]`],
    ['a __proto__ key', `{"__proto__":{"x":1},${good.slice(1)}`],
    ['a constructor key', `{"constructor":{"prototype":{"x":1}},${good.slice(1)}`],
    ['a stream_id that is not text', JSON.stringify({ stream_id: {}, frames: [] })],
    ['nothing', ''],
  ])('rejects a body of %s with 400, in under a second', async (_what, body) => {
    const began = process.cpuUsage();
    expect((await predict(body)).status).toBe(400);
    const { user, system } = process.cpuUsage(began);
    expect((user + system) / 1000).toBeLessThan(1_000);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect((await predict(good)).status).toBe(200);
  });

  test('rejects a compressed body with 415', async () => {
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    const answer = await fetch(`${urls.model}/predict`, { method: 'POST', headers, body: '\x1f\x8b' });
    expect(answer.status).toBe(415);
  });
});

test('the console rejects a log-in body over its limit with 413', async () => {
  const body = new URLSearchParams({ token: 'x'.repeat(100_000) });
  const answer = await fetch(`${urls.console}/login`, { method: 'POST', body });
  expect(answer.status).toBe(413);
});
