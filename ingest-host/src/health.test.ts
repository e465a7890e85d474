import { expect, onTestFinished, test } from 'vitest';
import { createMetrics, startHealthServer } from './health.ts';
import { createStats } from './stats.ts';

test('metrics have the current counters by stream, and times in seconds', async () => {
  const ingest = { stats: new Map([['yard', createStats()]]), waitingBytes: 0 };
  const { registry } = createMetrics(ingest);
  await registry.metrics();
  ingest.waitingBytes = 1234;
  const changes = {
    decoded: 50,
    decodeSeconds: 0.25,
    captured: 20,
    still: 3,
    thinned: 4,
    dropped: 5,
    unfit: 1,
  };
  const damaged = { lost: 7, corrupt: 0, undecodable: 2 };
  Object.assign(ingest.stats.get('yard') ?? {}, { ...changes, damaged });
  const lines = (await registry.metrics()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'ingest_pictures_decoded_total{stream="yard"} 50',
      'ingest_decode_seconds_total{stream="yard"} 0.25',
      'ingest_frames_captured_total{stream="yard"} 20',
      'ingest_frames_still_total{stream="yard"} 3',
      'ingest_frames_thinned_total{stream="yard"} 4',
      'ingest_frames_dropped_total{stream="yard",reason="kafka"} 4',
      'ingest_frames_dropped_total{stream="yard",reason="size"} 1',
      'ingest_pictures_damaged_total{stream="yard",reason="lost"} 7',
      'ingest_pictures_damaged_total{stream="yard",reason="undecodable"} 2',
      'ingest_waiting_bytes 1234',
    ]),
  );
});

test.each([
  ['all streams are disabled', [], 200],
  ['all streams are outside of their active hours', ['inactive'], 200],
  ['one stream flows', ['failed', 'flowing'], 200],
  ['no stream flows', ['failed', 'inactive'], 503],
] as const)('/health when %s', async (_, states, status) => {
  const stats = new Map(states.map((state) => [state, { ...createStats(), state }]));
  const { registry } = createMetrics({ stats, waitingBytes: 0 });
  const { url, close } = await startHealthServer({ host: '127.0.0.1', port: 0 }, stats, registry);
  onTestFinished(close);
  expect((await fetch(`${url}/health`)).status).toBe(status);
});
