import { createHttp, refusePages, serveMetrics } from '@video-pipeline/http';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { StreamStats } from './stats.ts';

/** Prometheus metrics of the ingest host, read from the streams' counters when they are asked for. */
export class IngestMetrics {
  readonly registry = new Registry();
  readonly #publish = new Histogram({
    name: 'ingest_publish_seconds',
    help: 'time until Kafka acknowledged a send',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.registry],
  });
  readonly #latency = new Histogram({
    name: 'ingest_capture_to_publish_seconds',
    help: 'from capture until Kafka acknowledged the frame',
    labelNames: ['stream'],
    buckets: [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.registry],
  });

  /** @param ingest what is read: the streams' counters, and the JPEG bytes that wait for Kafka */
  constructor(ingest: { readonly stats: ReadonlyMap<string, StreamStats>; readonly waitingBytes: number }) {
    const { stats } = ingest;
    this.#counter(
      'ingest_pictures_decoded_total',
      'pictures that the decoder gave, sampled or not',
      stats,
      (one) => one.decoded,
    );
    this.#counter(
      'ingest_decode_seconds_total',
      'time that decoding took, the wait for a thread included',
      stats,
      (one) => one.decodeSeconds,
    );
    this.#counter('ingest_frames_captured_total', 'frames sampled', stats, (one) => one.captured);
    this.#counter(
      'ingest_frames_published_total',
      'frames acknowledged by Kafka',
      stats,
      (one) => one.published,
    );
    this.#byReason(
      'ingest_frames_dropped_total',
      'frames let go: kafka did not take them in time, or size: no JPEG within MAX_FRAME_BYTES',
      stats,
      ({ dropped, unfit }) => ({ kafka: dropped - unfit, size: unfit }),
    );
    this.#byReason(
      'ingest_pictures_damaged_total',
      'coded pictures left out as they, or what they build on, were lost, corrupt or undecodable',
      stats,
      ({ damaged }) => ({ ...damaged }),
    );
    this.#counter(
      'ingest_frames_still_total',
      'frames not sent, as nothing moved',
      stats,
      (one) => one.still,
    );
    this.#counter(
      'ingest_frames_thinned_total',
      'frames left out, as the pipeline could not take more within MAX_LATENCY_SECONDS',
      stats,
      (one) => one.thinned,
    );
    this.#counter(
      'ingest_reconnects_total',
      'times a stream was opened again',
      stats,
      (one) => one.reconnects,
    );
    this.#counter(
      'ingest_bytes_published_total',
      'JPEG bytes acknowledged by Kafka',
      stats,
      (one) => one.bytes,
    );
    new Gauge({
      name: 'ingest_waiting_bytes',
      help: 'JPEG bytes of all streams that wait for Kafka',
      registers: [this.registry],
      collect() {
        this.set(ingest.waitingBytes);
      },
    });
    this.#gauge('ingest_stream_up', '1 while frames flow', stats, ({ state }) => Number(state === 'flowing'));
    this.#gauge(
      'ingest_stream_fallback',
      'which fallback URL is read, from 1; 0 while it is the first',
      stats,
      ({ fallback = 0 }) => fallback,
    );
  }

  /** Records one acknowledged send. */
  observe(frames: { streamId: string; capturedAt: number }[], milliseconds: number): void {
    this.#publish.observe(milliseconds / 1000);
    const now = Date.now();
    for (const { streamId, capturedAt } of frames) {
      this.#latency.observe({ stream: streamId }, (now - capturedAt) / 1000);
    }
  }

  #byReason(
    name: string,
    help: string,
    stats: ReadonlyMap<string, StreamStats>,
    read: (one: StreamStats) => Record<string, number>,
  ): void {
    new Counter({
      name,
      help,
      labelNames: ['stream', 'reason'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [stream, one] of stats) {
          for (const [reason, count] of Object.entries(read(one))) this.inc({ stream, reason }, count);
        }
      },
    });
  }

  #gauge(
    name: string,
    help: string,
    stats: ReadonlyMap<string, StreamStats>,
    read: (one: StreamStats) => number,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: ['stream'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [stream, one] of stats) this.set({ stream }, read(one));
      },
    });
  }

  #counter(
    name: string,
    help: string,
    stats: ReadonlyMap<string, StreamStats>,
    read: (one: StreamStats) => number,
  ): void {
    new Counter({
      name,
      help,
      labelNames: ['stream'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [stream, one] of stats) this.inc({ stream }, read(one));
      },
    });
  }
}

export interface HealthServer {
  url: string;
  close(): Promise<void>;
}

/** Longest time to send a request. */
const REQUEST_MS = 10_000;
/** Prometheus and a load balancer ask; more are no friends. */
const MAX_CONNECTIONS = 64;
/** No request has a body. */
const MAX_BODY_BYTES = 1;

/**
 * Serves `GET /health`, 200 while at least one stream flows, or all are out of their active hours, else 503, with
 * each stream's state; and `GET /metrics` for Prometheus.
 */
export async function startHealthServer(
  address: { host: string; port: number },
  stats: ReadonlyMap<string, StreamStats>,
  registry: Registry,
): Promise<HealthServer> {
  const app = createHttp({
    requestMs: REQUEST_MS,
    maxBodyBytes: MAX_BODY_BYTES,
    maxConnections: MAX_CONNECTIONS,
    fastify: { forceCloseConnections: true },
  });
  refusePages(app, address.host);
  serveMetrics(app, registry);
  app.get('/health', (_request, reply) => {
    const states = [...stats.values()].map(({ state }) => state);
    const resting = states.length > 0 && states.every((state) => state === 'inactive');
    const healthy = resting || states.includes('flowing');
    reply.status(healthy ? 200 : 503);
    return { status: healthy ? 'healthy' : 'unhealthy', streams: Object.fromEntries(stats) };
  });
  return { url: await app.listen(address), close: () => app.close() };
}
