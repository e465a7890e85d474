import { addCounter, addGauge, metricsServer, type Sample } from '@video-pipeline/http';
import { Histogram, Registry } from 'prom-client';
import type { StreamStats } from './stats.ts';

type Row<Value = number> = [name: string, help: string, read: (one: StreamStats) => Value];

const COUNTERS: readonly Row[] = [
  ['ingest_pictures_decoded_total', 'decoded pictures, sampled or not', ({ decoded }) => decoded],
  ['ingest_decode_seconds_total', 'time of decoding, with the wait for a thread', (one) => one.decodeSeconds],
  ['ingest_frames_captured_total', 'frames sampled, neither thinned nor still', ({ captured }) => captured],
  ['ingest_frames_published_total', 'frames acknowledged by Kafka', ({ published }) => published],
  ['ingest_frames_still_total', 'frames not sent, as nothing moved', ({ still }) => still],
  ['ingest_frames_thinned_total', 'frames left out to keep MAX_LATENCY_SECONDS', ({ thinned }) => thinned],
  ['ingest_reconnects_total', 'times a stream was opened again', ({ reconnects }) => reconnects],
  ['ingest_bytes_published_total', 'JPEG bytes acknowledged by Kafka', ({ bytes }) => bytes],
];

const GAUGES: readonly Row[] = [
  ['ingest_stream_up', '1 while frames flow', ({ state }) => Number(state === 'flowing')],
  ['ingest_stream_fallback', 'fallback URL that is read, from 1, or 0', ({ fallback = 0 }) => fallback],
];

const COUNTERS_BY_REASON: readonly Row<Record<string, number>>[] = [
  [
    'ingest_frames_dropped_total',
    'frames dropped: kafka did not accept them in time, or size: no JPEG within MAX_FRAME_BYTES',
    ({ dropped, unfit }) => ({ kafka: dropped - unfit, size: unfit }),
  ],
  [
    'ingest_pictures_damaged_total',
    'coded pictures left out because they, or their references, were lost, corrupt or undecodable',
    ({ damaged }) => ({ ...damaged }),
  ],
];

/**
 * Prometheus metrics of the ingest host. They are read from the streams' counters at each scrape.
 * @param ingest source of the metrics: the streams' counters, and the JPEG bytes that wait for Kafka
 */
export function createMetrics(ingest: {
  readonly stats: ReadonlyMap<string, StreamStats>;
  readonly waitingBytes: number;
}) {
  const registry = new Registry();
  const publish = new Histogram({
    name: 'ingest_publish_seconds',
    help: 'time until Kafka acknowledged a send',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  const latency = new Histogram({
    name: 'ingest_capture_to_publish_seconds',
    help: 'from capture until Kafka acknowledged the frame',
    labelNames: ['stream'],
    buckets: [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
  const samples = (read: (one: StreamStats) => number) =>
    Array.from(ingest.stats, ([stream, one]): Sample => [{ stream }, read(one)]);
  for (const [name, help, read] of COUNTERS)
    addCounter(registry, name, help, ['stream'], () => samples(read));
  for (const [name, help, read] of COUNTERS_BY_REASON)
    addCounter(registry, name, help, ['stream', 'reason'], () =>
      [...ingest.stats].flatMap(([stream, one]) =>
        Object.entries(read(one)).map(([reason, count]): Sample => [{ stream, reason }, count]),
      ),
    );
  addGauge(registry, 'ingest_waiting_bytes', 'JPEG bytes of all streams that wait for Kafka', [], () => [
    [{}, ingest.waitingBytes],
  ]);
  for (const [name, help, read] of GAUGES) addGauge(registry, name, help, ['stream'], () => samples(read));
  return {
    registry,
    observe(frames: { streamId: string; capturedAt: number }[], milliseconds: number): void {
      publish.observe(milliseconds / 1000);
      const now = Date.now();
      for (const { streamId, capturedAt } of frames)
        latency.observe({ stream: streamId }, (now - capturedAt) / 1000);
    },
  };
}

/**
 * Serves `GET /health` with each stream's state, and `GET /metrics` for Prometheus. The status of /health is 200 while
 * at least one stream flows, or while all are disabled or outside their active hours; otherwise 503.
 */
export async function startHealthServer(
  address: { host: string; port: number },
  stats: ReadonlyMap<string, StreamStats>,
  registry: Registry,
) {
  const app = metricsServer(address.host, registry);
  app.get('/health', (_request, reply) => {
    const states = [...stats.values()].map(({ state }) => state);
    const resting = states.every((state) => state === 'inactive');
    const healthy = resting || states.includes('flowing');
    reply.status(healthy ? 200 : 503);
    return { status: healthy ? 'healthy' : 'unhealthy', streams: Object.fromEntries(stats) };
  });
  return { url: await app.listen(address), close: () => app.close() };
}
