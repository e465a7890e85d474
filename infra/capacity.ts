import load from '../docs/measured/load.json' with { type: 'json' };
import pictures from '../docs/measured/pictures.json' with { type: 'json' };
import pipelineRun from '../docs/measured/pipeline.json' with { type: 'json' };
import video from '../docs/measured/video.json' with { type: 'json' };
import { FRAMES_IN_WORK } from '../functions/src/frames-in-work.ts';
import { estimate, POLLER_MB, travels } from './costs.ts';
import { type Plan, SAVINGS, type Saving } from './savings.ts';
import { BROKER_SIZES, type BrokerSize, memoryOf, type Stage, stageOf } from './stages.ts';

/**
 * What the pipeline needs for a number of cameras, what it costs and which limit it reaches first. It applies queueing
 * formulas to measurements of `npm run bench`. docs/capacity.md explains them.
 */

export interface Workload {
  cameras: number;
  /** Frames a second of each camera. */
  fps: number;
  /** Frames a second of one GPU pod. */
  gpuFps: number;
  /** How annotated frames are stored. */
  store: Stage['settings']['STORE'];
  /** Whether pictures go over Kafka once only (PICTURES=once). */
  once?: boolean;
  /** Further options that save costs. */
  savings?: readonly Saving[];
}

/** Speed of the machine in the run with live cameras, relative to that of {@link MEASURED}: the same cores differ. */
export const LIVE_DAY = load.fromKafkaFps / pipelineRun.fromKafka.fps;

/** Measured by `npm run bench` and `npm run bench:load` on one machine, YOLOv8n 640x384 in float32, 720p frames. */
export const MEASURED = {
  machine: pipelineRun.machine,
  cores: pipelineRun.cores,
  frameKb: pipelineRun.frameKb,
  /** CPU milliseconds for a frame, from Kafka to the stored object. */
  cpuMs: pipelineRun.fromKafka.cpuMs,
  /** A camera's frames a second; CPU ms for each of them (read, decode), and each sampled one (JPEG, publish). */
  ingest: {
    cameraFps: load.ingest.cameraFps,
    readMs: load.ingest.readMs * LIVE_DAY,
    sampleMs: load.ingest.sampleMs * LIVE_DAY,
  },
  /** Frames a second that were processed, with all frames in Kafka before. */
  fromKafkaFps: pipelineRun.fromKafka.fps,
  /** Steps of the run with live cameras: their number and rate, and the frames a second that were stored. */
  live: load.steps,
};

/** Planned average load of every part, as a share of its capacity. */
const TARGET = 0.7;
/** The same for the partition with the most streams: it only has to keep up. */
const TARGET_FULLEST = 0.9;
/** Memory that gives a Lambda one vCPU. */
const MB_PER_VCPU = 1769;
/** Fixed time of one invocation: network, and Kafka's acknowledgement. An assumption. */
const FIXED_MS = 20;
/** Time of one PUT. An assumption. */
const PUT_MS = 30;
/**
 * Sustained ingress of one `m7g.large`, MB/s. Larger sizes scale with their price. AWS states 500 MB/s for a `16xlarge`
 * Express broker, and 154 for a standard one.
 */
const BROKER_MB = { express: 15.6, provisioned: 4.8 };
/** Brokers' volumes: three copies, and the share that may be used. */
const VOLUME = { copies: 3, used: 0.6 };
/** Largest Lambda event: a batch is cut at this size. */
const EVENT_KB = 6_000;
/** Most brokers of a cluster with KRaft. */
const MAX_BROKERS = 60;

interface StageNeed {
  /** Time of one invocation, seconds. */
  seconds: number;
  /** Concurrent invocations on average; `reserved` is the planned number. */
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
  /** Left out if annotate runs within detect. */
  annotate?: StageNeed;
  gpuPods: number;
  ingestTasks: number;
  kafka: { kind: Stage['kafka']['kind']; ingressMb: number; brokers: number; size: BrokerSize };
  s3PutsPerSecond: number;
  /** Each stream of a batch has an NDJSON of its own. */
  streamsPerBatch: number;
  /** From capture to stored object, mean, seconds. */
  latencySeconds: number;
  usdPerMonth: { item: string; usd: number }[];
  /** AWS's default quotas, and the limits of the stage `production`; the most exhausted first. */
  limits: Limit[];
}

/** Sizes all parts for the workload, with the Lambda functions and tasks of the stage `production`. */
export function capacityOf(workload: Workload): Capacity {
  const { cameras, fps, gpuFps, store } = workload;
  const plan = planOf(workload);
  const { stage } = plan;
  const { frameKb } = weightsOf(stage);
  const framesPerSecond = cameras * fps;
  const partitions = partitionsFor(workload, plan);
  const load = partitionLoad(workload, partitions);
  const batch = batchOf(load.mean * fps, stage);
  const seconds = durations(batch, workload, stage);
  const gpuPods = Math.max(1, Math.ceil(framesPerSecond / (gpuFps * TARGET)));
  const frameMb = frameKb / 1000;
  const need = (duration: number): StageNeed => {
    const concurrency = (framesPerSecond / batch) * duration;
    const pollers = Math.ceil((framesPerSecond * frameMb) / (POLLER_MB * TARGET));
    return { seconds: duration, concurrency, reserved: Math.ceil(concurrency / TARGET), pollers };
  };
  const detect = need(seconds.detect);
  const annotate = seconds.annotate > 0 ? { annotate: need(seconds.annotate) } : {};
  const kafka = brokersFor(stage, travels(stage) * framesPerSecond * frameMb);
  // In a frame's partition: its own stream, and the other streams that hash to the same partition.
  const streamsPerBatch = Math.min(batch, 1 + (cameras - 1) / partitions);
  const picturesPerFrame = store === 'frames' ? 1 : streamsPerBatch / batch;
  const s3PutsPerSecond = framesPerSecond * (picturesPerFrame + streamsPerBatch / batch);
  const ingestTasks = Math.ceil(ingestCores(workload) / (vcpuOf(stage) * TARGET));
  const sized: Omit<Capacity, 'usdPerMonth' | 'limits'> = {
    workload,
    framesPerSecond,
    partitions,
    batch,
    detect,
    ...annotate,
    gpuPods,
    ingestTasks,
    kafka,
    s3PutsPerSecond,
    streamsPerBatch,
    latencySeconds: latency(load.mean * fps, batch, Object.values(seconds), stage),
  };
  return { ...sized, usdPerMonth: cost(sized, stage), limits: limitsOf(sized, stage) };
}

/** The stage `production` with the options of the workload. */
function planOf({ store, once = false, savings = [] }: Workload): Plan {
  const production = stageOf('production');
  const settings = {
    ...production.settings,
    STORE: store,
    PICTURES: once ? ('once' as const) : ('twice' as const),
  };
  // A thousand cameras need more than the usual number of standard brokers in three zones.
  const kafka = { ...production.kafka, kind: 'express' as const, instance: 'express.m7g.large' as const };
  const plan = { stage: { ...production, settings, kafka }, partitionsPerCamera: 0 };
  return savings.reduce<Plan>((before, name) => SAVINGS[name].apply(before), plan);
}

/** Measured sizes at the stage's JPEG_QUALITY. */
function weightsOf({ settings }: Stage) {
  const of = pictures.qualities[String(settings.JPEG_QUALITY) as keyof typeof pictures.qualities];
  if (!of) throw new RangeError(`JPEG_QUALITY=${settings.JPEG_QUALITY} was not measured`);
  return of;
}

/** Kilobytes of a stored frame. */
function storedKb({ store }: Workload, stage: Stage, perObject: number): number {
  const { annotatedKb, archivedKb } = weightsOf(stage);
  if (store !== 'video') return store === 'archive' ? archivedKb : annotatedKb;
  // The largest measured segment that is not longer: in longer segments a frame has fewer bytes.
  const [, kb = Number.NaN] =
    Object.entries(video.videoKb).findLast(([frames]) => Number(frames) <= perObject) ?? [];
  return kb;
}

/** Dollars a month for transfer between zones, which `cost` leaves out: two thirds of all transfers cross zones. */
export function zoneTransferUsd({ workload, kafka }: Capacity): number {
  const { once = false } = workload;
  const gb = (kafka.ingressMb / (once ? 1 : 2)) * 3.6 * 730;
  // To Kafka, to detect, to the model; with PICTURES=twice also to Kafka again, and to annotate.
  return gb * (once ? 3 : 5) * (2 / 3) * 0.02;
}

/** The most cameras that a kind of limits allows, and the limit that one more exceeds. */
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
 * Frames a second that one machine stores with all processes on its cores. Cameras can't wait, so ingest uses the CPU
 * first. The rest is for the later stages.
 */
export function oneMachineFps(cores: number, live: Pick<Workload, 'cameras' | 'fps'>): number {
  return Math.min(live.cameras * live.fps, Math.max(0, fromKafkaFps(cores - ingestCores(live))));
}

/** Frames a second from Kafka to stored objects on `cores` cores, with inference. */
export function fromKafkaFps(cores: number): number {
  return (cores * 1000) / Object.values(MEASURED.cpuMs).reduce((sum, ms) => sum + ms);
}

/** Most cameras at `fps` frames a second that one machine keeps up with. */
export function oneMachineCameras(cores: number, fps: number): number {
  let cameras = 0;
  while (oneMachineFps(cores, { cameras: cameras + 1, fps }) === (cameras + 1) * fps) cameras++;
  return cameras;
}

function ingestCores({ cameras, fps }: Pick<Workload, 'cameras' | 'fps'>): number {
  const { cameraFps, readMs, sampleMs } = MEASURED.ingest;
  return (cameras * (cameraFps * readMs + fps * sampleMs)) / 1000;
}

/** The fewest partitions that keep up, on average and in the fullest partition. */
function partitionsFor(workload: Workload, { stage, partitionsPerCamera }: Plan): number {
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
  return Math.max(high, Math.ceil(cameras * partitionsPerCamera));
}

/**
 * Streams of a partition on average, and of the fullest one. Keys are hashed: this is the problem of balls into bins.
 * @see Raab and Steger, 'Balls into Bins', RANDOM 1998
 */
function partitionLoad({ cameras }: Workload, partitions: number): { mean: number; fullest: number } {
  const mean = cameras / partitions;
  const fullest = Math.min(cameras, Math.max(1, mean + Math.sqrt(2 * mean * Math.log(partitions))));
  return { mean: Math.max(mean, Math.min(1, cameras)), fullest };
}

/** Frames of a batch, which closes at its size limit or at the end of its window. */
function batchOf(framesPerSecond: number, stage: Stage): number {
  const { BATCH_SIZE, BATCH_TIMEOUT_SECONDS } = stage.settings;
  // Measured with headers, in base64.
  const { event } = pictures.batchKb.detections;
  const frameKb =
    event / pictures.frames + (weightsOf(stage).frameKb - pictures.qualities[85].frameKb) * (4 / 3);
  const most = Math.min(BATCH_SIZE, Math.floor(EVENT_KB / frameKb));
  return Math.max(1, Math.min(most, framesPerSecond * BATCH_TIMEOUT_SECONDS));
}

/** Seconds of one invocation with `batch` frames. */
function durations(
  batch: number,
  { gpuFps, store, once }: Workload,
  stage: Stage,
): { detect: number; annotate: number } {
  const cpu = (ms: number, memoryMb: number) => (batch * ms * MB_PER_VCPU) / memoryMb;
  // The wait for a busy server with even service times: Pollaczek and Khinchine's formula for M/D/1.
  const inference = ((batch * 1000) / gpuFps) * (1 + TARGET / (2 * (1 - TARGET)));
  const memory = memoryOf(stage, once ? 'detect' : 'annotate');
  const { annotate, annotateOptimised } = pictures.cpuMs;
  const more = { frames: 0, archive: annotateOptimised - annotate, video: video.cpuMs.encode }[store];
  const drawing = cpu(MEASURED.cpuMs.annotate + more, memory);
  const storing = (batch * PUT_MS) / FRAMES_IN_WORK;
  // An object of many pictures is put once all of them are drawn, and the NDJSON after it.
  const annotating = store === 'frames' ? Math.max(drawing, storing) : drawing + 2 * PUT_MS;
  const detecting = FIXED_MS + cpu(MEASURED.cpuMs.detect, memoryOf(stage, 'detect')) + inference;
  if (once) return { detect: (detecting + annotating) / 1000, annotate: 0 };
  return { detect: detecting / 1000, annotate: (FIXED_MS + annotating) / 1000 };
}

/** Half the time to fill a batch, the window if the batch does not fill, and each stage's wait (M/D/1) and work. */
function latency(
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

/** The smallest brokers of which a cluster can have enough. Their number is a multiple of three: one in each zone. */
function brokersFor({ kafka: { kind } }: Stage, ingressMb: number): Capacity['kafka'] {
  const sizes = Object.entries(BROKER_SIZES).map(([size, times]) => ({
    kind,
    size: size as BrokerSize,
    ingressMb,
    brokers: 3 * Math.max(1, Math.ceil(ingressMb / (BROKER_MB[kind] * times * 3))),
  }));
  const fitting = sizes.find(({ brokers }) => brokers <= MAX_BROKERS / 2);
  return fitting ?? (sizes.at(-1) as Capacity['kafka']);
}

function cost(sized: Omit<Capacity, 'usdPerMonth' | 'limits'>, stage: Stage): Capacity['usdPerMonth'] {
  const { workload, kafka, gpuPods, ingestTasks, batch } = sized;
  const { kind, brokers, size, ingressMb } = kafka;
  const { retentionHours } = stage.kafka;
  const keptGb = (ingressMb * 3600 * retentionHours * VOLUME.copies) / 1000;
  const volumeGb = Math.ceil(keptGb / VOLUME.used / brokers);
  const topic = { partitions: sized.partitions, retentionHours, brokers };
  const frameKb = weightsOf(stage).frameKb;
  return estimate(
    {
      ...stage,
      kafka:
        kind === 'express'
          ? { ...topic, kind, instance: `express.m7g.${size}` }
          : { ...topic, kind, instance: `kafka.m7g.${size}`, volumeGb, maxVolumeGb: 2 * volumeGb },
      inference: { ...stage.inference, replicas: { min: gpuPods, max: gpuPods } } as Stage['inference'],
      ingest: { ...stage.ingest, streamsPerTask: workload.cameras / ingestTasks },
      load: { ...stage.load, streams: workload.cameras, frameRate: workload.fps, frameKb },
    },
    {
      batch,
      detect: (sized.detect.seconds * 25) / batch,
      annotate: ((sized.annotate?.seconds ?? 0) * 25) / batch,
      putsPerFrame: sized.s3PutsPerSecond / sized.framesPerSecond,
      linesPerFrame: sized.streamsPerBatch / batch,
      storedKb: storedKb(workload, stage, batch / sized.streamsPerBatch),
    },
  ).items;
}

function limitsOf(sized: Omit<Capacity, 'usdPerMonth' | 'limits'>, stage: Stage): Limit[] {
  const { detect, annotate, partitions, gpuPods, kafka, s3PutsPerSecond } = sized;
  const pods = 'replicas' in stage.inference ? stage.inference.replicas.max : 0;
  const limits: Limit[] = [
    {
      what: 'AWS: Lambda concurrency of an account',
      need: detect.reserved + (annotate?.reserved ?? 0),
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
