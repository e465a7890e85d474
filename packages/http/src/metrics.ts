import type { FastifyInstance } from 'fastify';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { refusePages } from './origin.ts';
import { createHttp } from './server.ts';

export function processRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // These are gauges whose names end like those of counters. `promtool check metrics` refuses them.
  for (const kind of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${kind}_total`);
  return registry;
}

export type Sample = readonly [labels: Record<string, string | number>, value: number];

/**
 * A metric whose values are read at each scrape.
 * @param labelNames labels of each sample
 */
const adder =
  (Metric: typeof Counter | typeof Gauge) =>
  (
    registry: Registry,
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<Sample> | Promise<Iterable<Sample>>,
  ): void => {
    const metric: Counter | Gauge = new Metric({
      name,
      help,
      labelNames,
      registers: [registry],
      async collect() {
        const samples = await read();
        metric.reset();
        for (const [labels, value] of samples) metric.inc(labels, value);
      },
    });
  };

export const addGauge = adder(Gauge);
export const addCounter = adder(Counter);

export function serveMetrics(app: FastifyInstance, registry: Registry): void {
  app.get('/metrics', { schema: { summary: 'Prometheus metrics' } as object }, (_request, reply) => {
    reply.type(registry.contentType);
    return registry.metrics();
  });
}

/** Longest time to send a request, milliseconds. */
const REQUEST_MS = 10_000;
/** Prometheus, a load balancer and a few people need no more. */
const MAX_CONNECTIONS = 64;

/** A server for operators: `GET /metrics`, and other routes without a body. It does not listen yet. */
export function metricsServer(host: string, registry: Registry): FastifyInstance {
  const app = createHttp({
    requestMs: REQUEST_MS,
    maxBodyBytes: 1,
    maxConnections: MAX_CONNECTIONS,
    fastify: { forceCloseConnections: true },
  });
  refusePages(app, host);
  serveMetrics(app, registry);
  return app;
}
