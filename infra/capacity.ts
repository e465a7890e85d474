import load from '../docs/measured/load.json' with { type: 'json' };
import pipelineRun from '../docs/measured/pipeline.json' with { type: 'json' };
import { FRAMES_IN_WORK } from '../functions/src/frames-in-work.ts';
import { estimate, POLLER_MB } from './costs.ts';
import { memoryOf, type Stage, stageOf } from './stages.ts';

/**
 * What the pipeline needs for a number of cameras, what it costs and what breaks first: queueing formulas over figures that
 * `npm run bench` measured. docs/capacity.md explains them.
 */

export interface Workload {
  cameras: number;
  /** Frames a second of each camera. */
  fps: number;
  /** Frames a second of one GPU pod. */
  gpuFps: number;
  /** How annotated frames are stored. */
  store: Stage['settings']['STORE'];
}

/** How fast the machine was on the day of the live cameras, over the day of {@link MEASURED}: the same cores differ. */
export const LIVE_DAY = load.fromKafkaFps / pipelineRun.fromKafka.fps;

/** Measured by `npm run bench` and `npm run bench:load` on one machine, YOLOv8n 640x384 in float32, 720p frames. */
export const MEASURED = {
  machine: pipelineRun.machine,
  cores: pipelineRun.cores,
  frameKb: pipelineRun.frameKb,
  /** CPU milliseconds a frame from Kafka to the stored object. */
  cpuMs: pipelineRun.fromKafka.cpuMs,
  /** A camera's own rate, and CPU milliseconds for each frame of it (read, decode) and each sampled one (JPEG, publish). */
  ingest: {
    cameraFps: load.ingest.cameraFps,
    readMs: load.ingest.readMs * LIVE_DAY,
    sampleMs: load.ingest.sampleMs * LIVE_DAY,
  },
  /** What came through, frames already in Kafka. */
  fromKafkaFps: pipelineRun.fromKafka.fps,
  /** Live cameras at so many frames a second, and the frames a second that were stored, on their day. */
  live: load.steps,
};

/** Share of its capacity that anything is planned for, on average. */
const TARGET = 0.7;
/** The same for the partition that hashing fills the most: it must keep up, no more. */
const TARGET_FULLEST = 0.9;
/** Memory that gives a Lambda one vCPU. */
const MB_PER_VCPU = 1769;
/** Of one invocation, whatever it holds: network, and Kafka's acknowledgement. An assumption. */
const FIXED_MS = 20;
/** One PUT. An assumption. */
const PUT_MS = 30;
/** What an archive adds to a picture: two headers, its JSON, and what fills their blocks. */
const ARCHIVED_KB = 2.8;
/** Sustained ingress of one `express.m7g.large`; the larger sizes hold as many times as much as they cost. */
const EXPRESS_MB = 15.6;
const EXPRESS_SIZES = { large: 1, xlarge: 2, '2xlarge': 4, '4xlarge': 8, '8xlarge': 16, '16xlarge': 32 };
/** Of one cluster, with KRaft. */
const MAX_BROKERS = 60;

export interface StageNeed {
  /** Of one invocation, seconds. */
  seconds: number;
  /** Invocations at the same time, on average and as planned for. */
  concurrency: number;
  reserved: number;
  pollers: number;
}

export interface Limit {
  what: string;
  need: number;
  limit: number;
}

export interface Capacity {
  workload: Workload;
  framesPerSecond: number;
  partitions: number;
  /** Frames of one invocation. */
  batch: number;
  detect: StageNeed;
  annotate: StageNeed;
  gpuPods: number;
  ingestTasks: number;
  kafka: { ingressMb: number; brokers: number; size: string };
  s3PutsPerSecond: number;
  /** Each has an NDJSON of its own in a batch. */
  streamsPerBatch: number;
  /** From capture to stored object, mean, seconds. */
  latencySeconds: number;
  usdPerMonth: { item: string; usd: number }[];
  /** AWS's default quotas, and the stage `production` as it stands; those nearest to breaking first. */
  limits: Limit[];
}

/** Sizes everything for the workload, with the Lambdas and tasks of the stage `production`. */
export function capacityOf(workload: Workload): Capacity {
  const { cameras, fps, gpuFps, store } = workload;
  const stage = stageOf('production');
  const framesPerSecond = cameras * fps;
  const partitions = partitionsFor(workload, stage);
  const load = partitionLoad(workload, partitions);
  const batch = batchOf(load.mean * fps, stage);
  const seconds = durations(batch, workload, stage);
  const gpuPods = Math.max(1, Math.ceil(framesPerSecond / (gpuFps * TARGET)));
  const frameMb = MEASURED.frameKb / 1000;
  const need = (duration: number): StageNeed => {
    const concurrency = (framesPerSecond / batch) * duration;
    const pollers = Math.ceil((framesPerSecond * frameMb) / (POLLER_MB * TARGET));
    return { seconds: duration, concurrency, reserved: Math.ceil(concurrency / TARGET), pollers };
  };
  const [detect, annotate] = [need(seconds.detect), need(seconds.annotate)];
  // Frames and detections each carry the JPEG.
  const kafka = brokersFor(2 * framesPerSecond * frameMb);
  const streamsPerBatch = Math.min(batch, Math.max(1, load.mean));
  const picturesPerFrame = store === 'archive' ? streamsPerBatch / batch : 1;
  const s3PutsPerSecond = framesPerSecond * (picturesPerFrame + streamsPerBatch / batch);
  const ingestTasks = Math.ceil(ingestCores(workload) / (vcpuOf(stage) * TARGET));
  const sized: Omit<Capacity, 'usdPerMonth' | 'limits'> = {
    workload,
    framesPerSecond,
    partitions,
    batch,
    detect,
    annotate,
    gpuPods,
    ingestTasks,
    kafka,
    s3PutsPerSecond,
    streamsPerBatch,
    latencySeconds: latency(load.mean * fps, batch, [seconds.detect, seconds.annotate], stage),
  };
  return { ...sized, usdPerMonth: cost(sized, stage), limits: limitsOf(sized, stage) };
}

/** The most cameras that a kind of limits allows, and what breaks with one more. */
export function mostCameras(
  kind: 'AWS' | 'production',
  work: Omit<Workload, 'cameras'>,
): { cameras: number; breaks: Limit } {
  const broken = (cameras: number) =>
    capacityOf({ ...work, cameras }).limits.find(
      ({ what, need, limit }) => what.startsWith(kind) && need > limit,
    );
  let cameras = 1;
  while (!broken(2 * cameras)) cameras *= 2;
  for (let step = cameras; step >= 1; step /= 2) if (!broken(cameras + step)) cameras += step;
  return { cameras, breaks: broken(cameras + 1) as Limit };
}

/**
 * Frames a second that one machine stores, all processes on its cores. Cameras can't wait, so ingest takes what it needs
 * first; the rest of the processor is for what is behind it.
 */
export function oneMachineFps(cores: number, live: Pick<Workload, 'cameras' | 'fps'>): number {
  return Math.min(live.cameras * live.fps, Math.max(0, fromKafkaFps(cores - ingestCores(live))));
}

/** Frames a second from Kafka to stored objects on so many cores, inference included. */
export function fromKafkaFps(cores: number): number {
  return (cores * 1000) / Object.values(MEASURED.cpuMs).reduce((sum, ms) => sum + ms);
}

/** Cameras at so many frames a second that one machine keeps up with. */
export function oneMachineCameras(cores: number, fps: number): number {
  let cameras = 0;
  while (oneMachineFps(cores, { cameras: cameras + 1, fps }) === (cameras + 1) * fps) cameras++;
  return cameras;
}

function ingestCores({ cameras, fps }: Pick<Workload, 'cameras' | 'fps'>): number {
  const { cameraFps, readMs, sampleMs } = MEASURED.ingest;
  return (cameras * (cameraFps * readMs + fps * sampleMs)) / 1000;
}

/** The fewest partitions that keep up on average, and on the fullest of them. */
function partitionsFor(workload: Workload, stage: Stage): number {
  const { cameras, fps } = workload;
  const keepsUp = (partitions: number) => {
    const { mean, fullest } = partitionLoad(workload, partitions);
    const busy = (streams: number) => {
      const batch = batchOf(streams * fps, stage);
      const { detect, annotate } = durations(batch, workload, stage);
      return (streams * fps * Math.max(detect, annotate)) / batch;
    };
    return busy(mean) <= TARGET && busy(fullest) <= TARGET_FULLEST;
  };
  let high = 1;
  while (!keepsUp(high) && high < 4 * cameras) high *= 2;
  let low = Math.floor(high / 2);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (keepsUp(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/**
 * Streams of a partition, on average and of the fullest: keys are hashed, so they fall like balls into bins.
 * @see Raab and Steger, 'Balls into Bins', RANDOM 1998
 */
function partitionLoad({ cameras }: Workload, partitions: number): { mean: number; fullest: number } {
  const mean = cameras / partitions;
  const fullest = Math.min(cameras, Math.max(1, mean + Math.sqrt(2 * mean * Math.log(partitions))));
  return { mean: Math.max(mean, Math.min(1, cameras)), fullest };
}

/** Frames that a batch holds when it closes, at its size or at the end of its window. */
function batchOf(framesPerSecond: number, { settings }: Stage): number {
  return Math.max(1, Math.min(settings.BATCH_SIZE, framesPerSecond * settings.BATCH_TIMEOUT_SECONDS));
}

/** Seconds of one invocation with so many frames. */
function durations(
  batch: number,
  { gpuFps, store }: Workload,
  stage: Stage,
): { detect: number; annotate: number } {
  const cpu = (ms: number, memoryMb: number) => (batch * ms * MB_PER_VCPU) / memoryMb;
  // The wait for a busy server with even service times: Pollaczek and Khinchine's formula for M/D/1.
  const inference = ((batch * 1000) / gpuFps) * (1 + TARGET / (2 * (1 - TARGET)));
  const drawing = cpu(MEASURED.cpuMs.annotate, memoryOf(stage, 'annotate'));
  const storing = (batch * PUT_MS) / FRAMES_IN_WORK;
  // An archive is put when all its pictures are drawn, and then what was seen in them.
  const annotating = store === 'archive' ? drawing + 2 * PUT_MS : Math.max(drawing, storing);
  return {
    detect: (FIXED_MS + cpu(MEASURED.cpuMs.detect, memoryOf(stage, 'detect')) + inference) / 1000,
    annotate: (FIXED_MS + annotating) / 1000,
  };
}

/** Half a batch's time to fill, then each stage's wait (M/D/1) and work; a batch that isn't full waits for its window. */
function latency(
  framesPerSecond: number,
  batch: number,
  stages: readonly number[],
  { settings }: Stage,
): number {
  const windows = batch < settings.BATCH_SIZE ? settings.BATCH_TIMEOUT_SECONDS : 0;
  const inStages = stages.map((seconds) => {
    const busy = Math.min(0.99, (framesPerSecond * seconds) / batch);
    return seconds * (1 + busy / (2 * (1 - busy)));
  });
  return batch / (2 * framesPerSecond) + windows + inStages.reduce((sum, one) => sum + one, 0);
}

/** The smallest Express brokers of which one cluster can have enough, in threes: one a zone. */
function brokersFor(ingressMb: number): Capacity['kafka'] {
  const sizes = Object.entries(EXPRESS_SIZES).map(([size, times]) => ({
    size,
    ingressMb,
    brokers: 3 * Math.max(1, Math.ceil(ingressMb / (EXPRESS_MB * times * 3))),
  }));
  const fitting = sizes.find(({ brokers }) => brokers <= MAX_BROKERS / 2);
  return fitting ?? (sizes.at(-1) as Capacity['kafka']);
}

function cost(sized: Omit<Capacity, 'usdPerMonth' | 'limits'>, stage: Stage): Capacity['usdPerMonth'] {
  const { workload, kafka, gpuPods, ingestTasks, batch } = sized;
  const large = kafka.brokers * EXPRESS_SIZES[kafka.size as keyof typeof EXPRESS_SIZES];
  const { partitions, retentionHours } = stage.kafka;
  return estimate(
    {
      ...stage,
      // Express brokers cost by their size: so many of the smallest, more than a stage's table may name.
      kafka: {
        kind: 'express',
        instance: 'express.m7g.large',
        brokers: large as 3,
        partitions,
        retentionHours,
      },
      inference: { ...stage.inference, replicas: { min: gpuPods, max: gpuPods } } as Stage['inference'],
      ingest: { ...stage.ingest, streamsPerTask: workload.cameras / ingestTasks },
      load: { ...stage.load, streams: workload.cameras, frameRate: workload.fps, frameKb: MEASURED.frameKb },
    },
    {
      detect: (sized.detect.seconds * 25) / batch,
      annotate: (sized.annotate.seconds * 25) / batch,
      putsPerFrame: sized.s3PutsPerSecond / sized.framesPerSecond,
      linesPerFrame: sized.streamsPerBatch / batch,
      storedKb: MEASURED.frameKb + (workload.store === 'archive' ? ARCHIVED_KB : 0),
    },
  ).items;
}

function limitsOf(sized: Omit<Capacity, 'usdPerMonth' | 'limits'>, stage: Stage): Limit[] {
  const { detect, annotate, partitions, gpuPods, kafka, s3PutsPerSecond } = sized;
  const pods = 'replicas' in stage.inference ? stage.inference.replicas.max : 0;
  const limits: Limit[] = [
    {
      what: 'AWS: Lambda concurrency of an account',
      need: detect.reserved + annotate.reserved,
      limit: 1_000,
    },
    { what: 'AWS: pollers of one mapping', need: detect.pollers, limit: 2_000 },
    { what: 'AWS: S3 PUT/s before it splits the prefix', need: Math.ceil(s3PutsPerSecond), limit: 3_500 },
    { what: 'AWS: brokers of one cluster', need: kafka.brokers, limit: MAX_BROKERS },
    { what: 'production: partitions', need: partitions, limit: stage.kafka.partitions },
    { what: 'production: pollers', need: detect.pollers, limit: stage.functions.pollers?.max ?? 1 },
    { what: 'production: GPU pods', need: gpuPods, limit: pods },
  ];
  return limits.sort((a, b) => b.need / b.limit - a.need / a.limit);
}

function vcpuOf({ ingest }: Stage): number {
  return Number.parseFloat(ingest.cpu);
}
