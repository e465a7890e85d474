import { type MetricsLine, parseMetrics } from '@video-pipeline/telemetry';
import { afterEach, expect, test, vi } from 'vitest';
import { metricsReporter } from './report.ts';
import { createStats } from './stats.ts';

afterEach(() => void vi.restoreAllMocks());

function setup() {
  const lines: (MetricsLine | undefined)[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation(
    (text) => lines.push(parseMetrics(String(text).trim())) > 0,
  );
  const stats = new Map([
    ['yard', createStats()],
    ['door', createStats()],
  ]);
  return { lines, stats, report: metricsReporter(stats) };
}

test('only changed counters are written, and only of streams with a change', () => {
  const { lines, stats, report } = setup();
  Object.assign(stats.get('yard') ?? {}, { captured: 5, published: 4, dropped: 1, reconnects: 2 });
  report();
  report();
  Object.assign(stats.get('yard') ?? {}, { captured: 8, published: 7 });
  report();
  const none = { FramesStill: [0], FramesThinned: [0], Reconnects: [0], FramesDropped: [0] };
  expect(lines).toEqual([
    {
      service: 'ingest',
      stream: 'yard',
      values: { ...none, FramesCaptured: [5], FramesPublished: [4], FramesDropped: [1], Reconnects: [2] },
    },
    { service: 'ingest', stream: 'yard', values: { ...none, FramesCaptured: [3], FramesPublished: [3] } },
  ]);
});

test('a camera with a still scene is reported differently from one that is silent', () => {
  const { lines, stats, report } = setup();
  Object.assign(stats.get('door') ?? {}, { still: 10 });
  report();
  expect(lines).toMatchObject([{ stream: 'door', values: { FramesStill: [10], FramesCaptured: [0] } }]);
});
