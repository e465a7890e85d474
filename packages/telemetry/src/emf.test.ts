import { afterEach, expect, test, vi } from 'vitest';
import { emitMetrics, NAMESPACE, parseMetrics } from './emf.ts';

const lines: string[] = [];
vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
  lines.push(...String(text).trim().split('\n'));
  return true;
});
afterEach(() => void lines.splice(0));

test('every emitted value is read back, over as many EMF documents as CloudWatch needs', () => {
  const latencies = Array.from({ length: 230 }, (_, index) => index);
  emitMetrics('annotate', 'yard', { FramesAnnotated: 230, CaptureToStored: latencies });

  const read = lines.map((line) => parseMetrics(line));
  expect(read.every((one) => one?.service === 'annotate' && one.stream === 'yard')).toBe(true);
  expect(read.flatMap((one) => one?.values.CaptureToStored ?? [])).toEqual(latencies);
  expect(read.flatMap((one) => one?.values.FramesAnnotated ?? [])).toEqual([230]);
  expect(JSON.parse(lines[0] ?? '')._aws.CloudWatchMetrics[0].Namespace).toBe(NAMESPACE);
});

test('metrics go to the namespace in METRICS_NAMESPACE, so that stages of one account are separate', () => {
  vi.stubEnv('METRICS_NAMESPACE', 'VideoPipeline/staging');
  emitMetrics('ingest', 'yard', { FramesPublished: 1 });
  vi.unstubAllEnvs();
  expect(JSON.parse(lines[0] ?? '')._aws.CloudWatchMetrics[0].Namespace).toBe('VideoPipeline/staging');
  expect(parseMetrics(lines[0] ?? '')?.values).toEqual({ FramesPublished: [1] });
});

test('metrics of streams beyond the limit are summed up under one name', () => {
  for (let stream = 0; stream < 3_000; stream++)
    emitMetrics('detect', `made-up-${stream}`, { FramesFailed: 1 });
  emitMetrics('detect', 'yard', { FramesFailed: 1 });
  const streams = lines.map((line) => parseMetrics(line)?.stream);
  expect(new Set(streams).size).toBeLessThanOrEqual(2_001);
  expect(streams.slice(-2)).toEqual(['others', 'yard']);
});

test.each(['', 'plain text', '{"level":"INFO"}', '{"CloudWatchMetrics" broken'])(
  '%j is not parsed as metrics',
  (line) => {
    expect(parseMetrics(line)).toBeUndefined();
  },
);
