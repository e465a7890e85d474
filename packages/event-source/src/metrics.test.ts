import { emitFailures, emitMetrics } from '@video-pipeline/telemetry';
import { afterAll, expect, test, vi } from 'vitest';
import { serveStageMetrics } from './metrics.ts';

const server = await serveStageMetrics({ host: '127.0.0.1', port: 0 });
afterAll(() => server.close());

test('the metrics that a stage writes for CloudWatch are served to Prometheus', async () => {
  const written = vi.spyOn(console, 'log').mockImplementation(() => {});
  emitMetrics('detect', 'yard', { FramesDetected: 25, InferenceTime: [300, 700] });
  emitMetrics('detect', 'yard', { FramesDetected: 5 });
  emitMetrics('detect', 'gate', { SparseInterval: 2_000 });
  emitFailures('detect', 'NOT_A_PICTURE', 2);
  written.mockRestore();
  const response = await fetch(new URL('/metrics', server.url));
  expect(response.headers.get('content-type')).toContain('text/plain');
  const text = await response.text();
  for (const line of [
    'video_pipeline_frames_detected_total{service="detect",stream="yard"} 30',
    'video_pipeline_inference_time_seconds_bucket{le="0.5",service="detect",stream="yard"} 1',
    'video_pipeline_inference_time_seconds_sum{service="detect",stream="yard"} 1',
    'video_pipeline_failures_total{service="detect",code="NOT_A_PICTURE"} 2',
  ])
    expect(text).toContain(`\n${line}\n`);
  expect(text).toContain(
    '\nvideo_pipeline_sparse_interval_seconds_count{service="detect",stream="gate"} 1\n',
  );
  // A rule of `promtool check metrics`: only names of counters end like that.
  const gauges = [...text.matchAll(/^# TYPE (\S+) gauge$/gm)].map(([, name = '']) => name);
  expect(gauges.filter((name) => name.endsWith('_total'))).toEqual([]);
  expect(await (await fetch(new URL('/health', server.url))).json()).toEqual({
    status: 'healthy',
    note: 'too few frames for tracks and events of gate (0.5 frames/s); raise FRAME_RATE',
    low_rates: { gate: 0.5 },
  });
});
