import { metricsServer, processRegistry } from '@video-pipeline/http';
import { LowRates, lowRateNote, metricUnits, observeMetrics, variantUnits } from '@video-pipeline/telemetry';
import { Counter, Histogram, type Registry } from 'prom-client';

/** Seconds: an inference call takes less than one second, the way from capture to the stored object takes a few. */
const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/**
 * Serves the handler's counts as `GET /metrics` for Prometheus: the metrics that go to CloudWatch on AWS, by stream.
 * `FramesDetected` becomes `video_pipeline_frames_detected_total`, `InferenceTime` becomes
 * `video_pipeline_inference_time_seconds`. `GET /health` names the streams whose rate is too low for tracks and events.
 * @returns its address
 */
export async function serveStageMetrics(address: { host: string; port: number }) {
  const lowRates = new LowRates();
  const app = metricsServer(address.host, createStageMetrics(lowRates));
  app.get('/health', () => {
    const rates = lowRates.current();
    return { status: 'healthy', note: lowRateNote(rates), low_rates: rates };
  });
  return { url: await app.listen(address), close: () => app.close() };
}

/** Counts the metrics that are written from now on. */
export function createStageMetrics(lowRates = new LowRates()): Registry {
  const registry = processRegistry();
  const registers = [registry];
  const counters = new Map<string, Counter>();
  const histograms = new Map<string, Histogram>();
  const add = (units: Readonly<Record<string, string>>, by: 'stream' | 'variant') => {
    for (const [name, unit] of Object.entries(units)) {
      const base = `video_pipeline_${name.replace(/(?<=.)[A-Z]/g, '_$&').toLowerCase()}`;
      const options = { help: `${name}, by stage and ${by}`, labelNames: ['service', by], registers };
      if (unit === 'Milliseconds')
        histograms.set(name, new Histogram({ ...options, name: `${base}_seconds`, buckets: BUCKETS }));
      else counters.set(name, new Counter({ ...options, name: `${base}_total` }));
    }
  };
  const count = (labels: Record<string, string>, values: Partial<Record<string, number | number[]>>) => {
    for (const [name, list = []] of Object.entries(values)) {
      for (const value of [list].flat()) {
        counters.get(name)?.inc(labels, value);
        histograms.get(name)?.observe(labels, value / 1000);
      }
    }
  };
  add(metricUnits, 'stream');
  add(variantUnits, 'variant');
  const failed = new Counter({
    name: 'video_pipeline_failures_total',
    help: 'Records moved to failed/, by stage and reason',
    labelNames: ['service', 'code'],
    registers,
  });
  observeMetrics({
    metrics(service, stream, values) {
      for (const interval of [values.SparseInterval ?? []].flat()) lowRates.add(stream, interval);
      count({ service, stream }, values);
    },
    failures: (service, code, number) => failed.inc({ service, code }, number),
    variant: (service, variant, values) => count({ service, variant }, values),
  });
  return registry;
}
