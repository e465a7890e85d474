import pictures from '../docs/measured/pictures.json' with { type: 'json' };
import video from '../docs/measured/video.json' with { type: 'json' };
import { FRAME_CONCURRENCY } from '../functions/src/frame-concurrency.ts';
import { MEASURED } from './one-machine.ts';
import type { Saving } from './savings.ts';
import { CPU_TARGET, isPacked, memoryOf, type Stage } from './stages.ts';

/** How many frames a batch has, how long an invocation takes with it, and how long a frame waits for both. */

export interface Workload {
  cameras: number;
  /** Frames a second of each camera. */
  fps: number;
  /** Frames a second of one GPU pod. */
  gpuFps: number;
  /** How annotated frames are stored. */
  store: Stage['settings']['STORE'];
  /** Share of the pictures that STORE=events keeps, 0..1. */
  kept?: number;
  /** Whether pictures go over Kafka once only (PICTURES=once). */
  once?: boolean;
  /** Further options that save costs. */
  savings?: readonly Saving[];
}

/** Planned average load of every part, as a share of its capacity. */
export const TARGET = CPU_TARGET / 100;
/** Memory that gives a Lambda one vCPU. */
const MB_PER_VCPU = 1769;
/** Fixed time of one invocation: network, and Kafka's acknowledgement. An assumption. */
const FIXED_MS = 20;
/** Time of one PUT. An assumption. */
const PUT_MS = 30;
/** Assumed share of the pictures that STORE=events keeps. */
const KEPT = 0.1;
/** Largest Lambda event: a batch is cut at this size. */
const EVENT_KB = 6_000;

/** Measured sizes at the stage's JPEG_QUALITY. */
export function weightsOf({ settings }: Stage) {
  const of = pictures.qualities[String(settings.JPEG_QUALITY) as keyof typeof pictures.qualities];
  if (!of) throw new RangeError(`JPEG_QUALITY=${settings.JPEG_QUALITY} was not measured`);
  return of;
}

/** Frames of a batch, which closes at its size limit or at the end of its window. */
export function batchOf(framesPerSecond: number, stage: Stage): number {
  const { BATCH_SIZE, BATCH_TIMEOUT_SECONDS } = stage.settings;
  // Measured with headers, in base64.
  const { event } = pictures.batchKb.detections;
  const frameKb =
    event / pictures.frames + (weightsOf(stage).frameKb - pictures.qualities[85].frameKb) * (4 / 3);
  const limit = Math.min(BATCH_SIZE, Math.floor(EVENT_KB / frameKb));
  return Math.max(1, Math.min(limit, framesPerSecond * BATCH_TIMEOUT_SECONDS));
}

/** Seconds of one invocation with `batch` frames. */
export function durations(
  batch: number,
  workload: Workload,
  stage: Stage,
): { detect: number; annotate: number } {
  const { gpuFps, store, once } = workload;
  const cpu = (ms: number, memoryMb: number) => (batch * ms * MB_PER_VCPU) / memoryMb;
  // The wait for a busy server with even service times: Pollaczek and Khinchine's formula for M/D/1.
  const inference = ((batch * 1000) / gpuFps) * (1 + TARGET / (2 * (1 - TARGET)));
  const memory = memoryOf(stage, once ? 'detect' : 'annotate');
  const share = keptOf(workload);
  const drawing = share * cpu(MEASURED.cpuMs.annotate + storeCpuMs(store), memory);
  const storing = (share * batch * PUT_MS) / FRAME_CONCURRENCY;
  // An object of many pictures is put once all of them are drawn, and the NDJSON after it.
  const annotating = isPacked(store) ? drawing + 2 * PUT_MS : Math.max(drawing, storing);
  const detecting = FIXED_MS + cpu(MEASURED.cpuMs.detect, memoryOf(stage, 'detect')) + inference;
  if (once) return { detect: (detecting + annotating) / 1000, annotate: 0 };
  return { detect: detecting / 1000, annotate: (FIXED_MS + annotating) / 1000 };
}

/** CPU milliseconds of a frame in detect and annotate together. */
export function frameCpuMs(workload: Workload): number {
  const { detect, annotate } = MEASURED.cpuMs;
  return detect + keptOf(workload) * (annotate + storeCpuMs(workload.store));
}

/** Share of the pictures that is stored. */
export function keptOf({ store, kept = KEPT }: Pick<Workload, 'store' | 'kept'>): number {
  return store === 'events' ? kept : 1;
}

/** CPU milliseconds for a frame that a form of storage takes beyond single JPEGs. */
function storeCpuMs(store: Workload['store']): number {
  const { annotate, annotateOptimised } = pictures.cpuMs;
  return { frames: 0, events: 0, archive: annotateOptimised - annotate, video: video.cpuMs.encode }[store];
}

/** Mean, seconds: half the time to fill a batch, the window if it does not fill, each stage's wait (M/D/1) and work. */
export function latency(
  framesPerSecond: number,
  batch: number,
  stages: readonly number[],
  { settings }: Stage,
): number {
  const { BATCH_SIZE, BATCH_TIMEOUT_SECONDS } = settings;
  const isOld = batch >= framesPerSecond * BATCH_TIMEOUT_SECONDS && batch < BATCH_SIZE;
  const windows = isOld ? BATCH_TIMEOUT_SECONDS : 0;
  const inStages = stages.map((seconds) => {
    const busy = Math.min(0.99, (framesPerSecond * seconds) / batch);
    return seconds * (1 + busy / (2 * (1 - busy)));
  });
  return batch / (2 * framesPerSecond) + windows + inStages.reduce((sum, one) => sum + one, 0);
}
