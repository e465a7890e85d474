import { addGauge } from '@video-pipeline/http';
import { Counter, Registry } from 'prom-client';
import type { LiveFrames } from './live.ts';
import type { Monitor } from './monitor.ts';

/** Prometheus metrics of the console and of its view of the pipeline. They are read at each scrape. */
export function consoleMetrics(
  monitor: Pick<Monitor, 'parts' | 'lags' | 'failed'>,
  live: LiveFrames,
  browsers: () => number,
): Registry {
  const registry = new Registry();
  const gauge = (
    name: string,
    help: string,
    label: string,
    values: () => Iterable<readonly [string, number]>,
  ) =>
    addGauge(registry, name, help, [label], () =>
      Array.from(values(), ([key, value]) => [{ [label]: key }, value]),
    );
  gauge('console_part_up', '1: it answers, 0: it does not; absent while that is unknown', 'part', () =>
    Object.entries(monitor.parts).flatMap(([name, { ok }]) =>
      ok === null ? [] : [[name, Number(ok)] as const],
    ),
  );
  gauge('console_lag_records', 'records that wait for a stage', 'stage', () => monitor.lags());
  gauge('console_failed_records', 'records in failed/, up to the first thousand of a stage', 'stage', () =>
    monitor.failed.entries(),
  );
  const one = (name: string, help: string, value: () => number) =>
    addGauge(registry, name, help, [], () => [[{}, value()]]);
  one('console_streams', 'streams that the console holds frames of', () => live.streams().length);
  one('console_browsers', 'browsers that follow the live events', browsers);
  const frames = new Counter({
    name: 'console_frames_total',
    help: 'frames with detections that the console received',
    registers: [registry],
  });
  live.subscribe(() => frames.inc());
  return registry;
}
