import { describe, expect, test } from 'vitest';
import { capacityOf } from '../../infra/capacity.ts';
import { GPU_FPS, GPU_POD, lagPerPod } from '../../infra/scaling.ts';
import { CPU_TARGET, stageOf } from '../../infra/stages.ts';

/** CPU seconds of a frame on a pod: its JPEG decoded. */
const FRAME_CPU = GPU_POD.cpuMs / 1000;
/** One batch in detect, seconds, while a pod is free. */
const BATCH = { size: 25, window: 5, seconds: 0.6 };
const STEP = 0.1;
/** The autoscaler looks, and KEDA asks, so often, seconds; and counts on it only outside this band. */
const SYNC = 15;
const TOLERANCE = 0.1;

interface Run {
  cameras: number;
  fps: number;
  lagThreshold: number;
  replicas: { min: number; max: number };
  partitions: number;
  /** Seconds at the beginning in which no frame is worked on. */
  outage?: number;
}

/**
 * Ten minutes of cameras, partitions, the mapping's batches, pods and the autoscaler.
 * @returns the pods at the end, the most there were, and the lag at the end, records
 */
function simulate({ cameras, fps, lagThreshold, replicas, partitions, outage = 0 }: Run) {
  const perPartition = (cameras * fps) / partitions;
  const state = Array.from({ length: partitions }, (_, index) => ({
    waiting: 0,
    since: -index / partitions,
    busyUntil: 0,
    inWork: 0,
  }));
  let pods = Math.max(1, replicas.min);
  let most = pods;
  let decoded = 0;
  let lag = 0;
  for (let now = 0; now < 600; now += STEP) {
    let budget = pods * GPU_FPS * STEP;
    for (const one of state) {
      if (one.inWork > 0 && now >= one.busyUntil) one.inWork = 0;
      one.waiting += perPartition * STEP;
      const due = one.waiting >= BATCH.size || now - one.since >= BATCH.window;
      const batch = Math.min(BATCH.size, Math.floor(one.waiting));
      if (now < outage || one.inWork > 0 || !due || batch === 0 || budget < -BATCH.size) continue;
      budget -= batch;
      decoded += batch;
      one.waiting -= batch;
      one.inWork = batch;
      one.since = now;
      one.busyUntil = now + BATCH.seconds;
    }
    lag = state.reduce((sum, { waiting, inWork }) => sum + waiting + inWork, 0);
    if (Math.round(now / STEP) % (SYNC / STEP) !== 0 || now === 0) continue;
    const cpu = ((decoded / SYNC) * FRAME_CPU) / (pods * GPU_POD.vcpus) / (CPU_TARGET / 100);
    decoded = 0;
    const byCpu = Math.abs(cpu - 1) > TOLERANCE ? Math.ceil(pods * cpu) : pods;
    const byLag = Math.ceil(lag / lagThreshold);
    pods = Math.min(replicas.max, Math.max(replicas.min, 1, byCpu, byLag));
    most = Math.max(most, pods);
  }
  return { pods, most, lag };
}

const { inference, kafka } = stageOf('production');
const replicas = 'replicas' in inference ? inference.replicas : { min: 0, max: 0 };
const { partitions } = kafka;
const lagThreshold = lagPerPod(partitions, BATCH.size, GPU_FPS);

describe('autoscaling of model pods as in production', () => {
  test.each([
    [1, 2],
    [10, 2],
    [20, 2],
    [40, 2],
    [80, 3],
  ])('gives %i cameras at 10 frames a second %i pods', (cameras, pods) => {
    expect(simulate({ cameras, fps: 10, lagThreshold, replicas, partitions }).pods).toBe(pods);
  });

  test.each([50, 100, 200])('gives %i cameras as many pods as the capacity model plans', (cameras) => {
    const planned = capacityOf({ cameras, fps: 10, gpuFps: GPU_FPS, store: 'frames' }).gpuPods;
    // With enough partitions, and no limit to the pods.
    const plenty = { partitions: cameras, replicas: { min: 1, max: 100 } };
    const lagThreshold = lagPerPod(cameras, BATCH.size, GPU_FPS);
    const { pods } = simulate({ cameras, fps: 10, lagThreshold, ...plenty });
    expect(Math.abs(pods - planned)).toBeLessThanOrEqual(1);
  });

  test('with a lag threshold of four batches would add needless pods, as batches in work count as lag', () => {
    const old = simulate({ cameras: 20, fps: 10, lagThreshold: 100, replicas, partitions });
    expect(old.pods).toBeGreaterThanOrEqual(4);
    expect(old.lag).toBeGreaterThan(300);
  });

  test('scales up to the maximum after an outage of five minutes, and then down again', () => {
    const run = simulate({ cameras: 20, fps: 10, lagThreshold, replicas, partitions, outage: 300 });
    expect(run.most).toBe(replicas.max);
    expect(run.lag).toBeLessThan(1_000);
    expect(run.pods).toBeLessThanOrEqual(3);
  });
});
