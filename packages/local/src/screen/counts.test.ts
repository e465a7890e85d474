import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Counts, OTHER_STREAMS } from './counts.ts';

// As emitMetrics writes it; parseMetrics reads it in packages/telemetry.
function line(stream: string, values: Record<string, number | number[]>): string {
  return JSON.stringify({ _aws: { CloudWatchMetrics: [] }, service: 'x', stream, ...values });
}

describe('Counts', () => {
  it('sums the metrics of all stages for each stream', () => {
    const counts = new Counts();
    counts.add(
      line('yard', {
        FramesCaptured: 5,
        FramesPublished: 4,
        FramesThinned: 3,
        FramesDropped: 1,
        Reconnects: 1,
      }),
    );
    counts.add(line('yard', { FramesDetected: 4 }));
    counts.add(line('yard', { FramesAnnotated: 3, FramesFailed: 1, CaptureToStored: [10, 20, 30] }));
    counts.add(line('door', { FramesCaptured: 2 }));
    counts.add('something else');
    expect(Object.keys(counts.streams())).toEqual(['door', 'yard']);
    expect(counts.streams().yard).toMatchObject({
      captured: 5,
      published: 4,
      thinned: 3,
      dropped: 1,
      detected: 4,
      annotated: 3,
      failed: 1,
      reconnects: 1,
      latency: { p50: 20, p95: 30, p99: 30 },
    });
    expect(counts.total()).toEqual({
      captured: 7,
      published: 4,
      thinned: 3,
      dropped: 1,
      detected: 4,
      annotated: 3,
      failed: 1,
    });
  });

  it.each([3_600_000, -3_600_000])('has the right rate when the clock is set by %i ms', (step) => {
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    const counts = new Counts();
    const second = () => {
      vi.advanceTimersByTime(1_000);
      counts.add(line('yard', { FramesAnnotated: 10, SparseInterval: 500 }));
    };
    for (let seconds = 0; seconds < 20; seconds++) second();
    vi.setSystemTime(Date.now() + step);
    for (let seconds = 0; seconds < 5; seconds++) second();
    expect(counts.streams().yard?.fps).toBe(10);
    expect(Object.keys(counts.lowRates.current())).toEqual(['yard']);
    vi.advanceTimersByTime(90_000);
    expect(counts.lowRates.current()).toEqual({});
  });

  it('sums unknown streams beyond a limit, and always counts each source by itself', () => {
    const counts = new Counts();
    counts.reset(['yard', 'door']);
    const before = process.memoryUsage().rss;
    for (let n = 0; n < 12_000; n += 1)
      counts.add(line(`made-up-${n}`, { FramesDetected: 1, CaptureToStored: 5 }));
    counts.add(line('yard', { FramesDetected: 3 }));
    counts.add(line('door', { FramesDetected: 2 }));
    const streams = counts.streams();
    expect(Object.keys(streams)).toHaveLength(35);
    expect(streams.yard?.detected).toBe(3);
    expect(streams.door?.detected).toBe(2);
    expect(streams[OTHER_STREAMS]?.detected).toBe(12_000 - 32);
    expect(counts.total().detected).toBe(12_005);
    // A histogram of each took 1.8 GB.
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  });

  it('names streams whose frame rate is too low for tracking', () => {
    const counts = new Counts();
    counts.add(line('yard', { SparseInterval: 2_000 }), 0);
    counts.add(line('door', { SparseInterval: 100_000 }), 0);
    expect(counts.lowRates.current(59_000)).toEqual({ yard: 0.5, door: 0.01 });
    expect(counts.lowRates.current(61_000)).toEqual({ door: 0.01 });
  });

  it('has the rate of the last ten seconds', () => {
    const counts = new Counts();
    counts.add(line('yard', { FramesAnnotated: 1000 }), 0);
    counts.add(line('yard', { FramesAnnotated: 50 }), 12_000);
    expect(counts.streams(15_000).yard?.fps).toBe(5);
    expect(counts.streams(30_000).yard?.fps).toBe(0);
  });

  it('has a row for each source, with or without frames', () => {
    const counts = new Counts();
    counts.reset(['yard', 'notes']);
    counts.add(line('yard', { FramesCaptured: 5 }));
    expect(counts.streams()).toMatchObject({ notes: { captured: 0, fps: 0 }, yard: { captured: 5 } });
  });

  it('has no latency before the first stored frame, nor after a reset', () => {
    const counts = new Counts();
    expect(counts.latency()).toEqual({ p50: null, p95: null, p99: null });
    counts.add(line('yard', { CaptureToStored: 0 }));
    expect(counts.latency().p50).toBe(1);
    counts.reset();
    expect(counts.latency().p50).toBeNull();
    expect(counts.streams()).toEqual({});
  });
});
