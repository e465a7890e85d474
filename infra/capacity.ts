import video from '../docs/measured/video.json' with { type: 'json' };
import { SEGMENT_PICTURES } from '../packages/storage/src/segment.ts';
import {
  batchOf,
  durations,
  frameCpuMs,
  keptOf,
  latency,
  TARGET,
  type Workload,
  weightsOf,
} from './batches.ts';
import { estimate, POLLER_MB, travels, workerTasks } from './costs.ts';
import { ingestCores } from './one-machine.ts';
import { type Plan, SAVINGS } from './savings.ts';
import { BROKER_SIZES, type BrokerSize, isPacked, type Stage, stageOf } from './stages.ts';

/**
 * What the pipeline needs for a number of cameras, what it costs and which limit it reaches first. It applies queueing
 * formulas to measurements of `npm run bench`. docs/capacity.md explains them.
 */

/** {@link TARGET} of the partition with the most streams: it only has to keep up. */
const TARGET_FULLEST = 0.9;
/**
 * Sustained ingress of one `m7g.large`, MB/s. Larger sizes scale with their price. AWS states 500 MB/s for a `16xlarge`
 * Express broker, and 154 for a standard one.
 */
const BROKER_MB = { express: 15.6, provisioned: 4.8 };
/** Brokers' volumes: three copies, and the share that may be used. */
const VOLUME = { copies: 3, used: 0.6 };
/** Most brokers of a cluster with KRaft. */
const MAX_BROKERS = 60;
/**
 * Replicas of partitions that a broker should hold at most, by its size as a multiple of `large`.
 * @see https://docs.aws.amazon.com/msk/latest/developerguide/bestpractices.html
 */
const maxReplicas = (times: number) => (times < 4 ? 1_000 : times < 8 ? 2_000 : 4_000);
/** Most tasks of an ECS service. */
const MAX_TASKS = 5_000;

interface StageNeed {
  /** Time of one invocation, seconds. */
  seconds: number;
  /** Concurrent invocations on average; `reserved` is the planned number. */
  concurrency: number;
  reserved: number;
  pollers: number;
}

interface Limit {
  what: string;
  need: number;
  limit: number;
}

interface Brokers {
  kind: Stage['kafka']['kind'];
  ingressMb: number;
  brokers: number;
  size: BrokerSize;
}

type Sizes = ReturnType<typeof sizesOf>;
export type Capacity = ReturnType<typeof capacityOf>;

/**
 * What the workload needs, costs, and which limits it has: AWS's default quotas, and those of the stage `production`;
 * the most exhausted first.
 */
export function capacityOf(workload: Workload) {
  const plan = planOf(workload);
  const sizes = sizesOf(workload, plan);
  return { ...sizes, usdPerMonth: cost(sizes, plan.stage), limits: limitsOf(sizes, plan.stage) };
}

/** Sizes all parts for the workload, with the Lambda functions and tasks of the stage `production`. */
function sizesOf(workload: Workload, plan: Plan) {
  const { cameras, fps, gpuFps, store, once } = workload;
  const { stage } = plan;
  const { frameKb } = weightsOf(stage);
  const framesPerSecond = cameras * fps;
  const partitions = partitionsFor(workload, plan);
  const load = partitionLoad(workload, partitions);
  const batch = batchOf(load.mean * fps, stage);
  const seconds = durations(batch, workload, stage);
  const frameMb = frameKb / 1000;
  const need = (duration: number): StageNeed => {
    const concurrency = (framesPerSecond / batch) * duration;
    const pollers = Math.ceil((framesPerSecond * frameMb) / (POLLER_MB * TARGET));
    return { seconds: duration, concurrency, reserved: Math.ceil(concurrency / TARGET), pollers };
  };
  const { workers } = stage.functions;
  // In a frame's partition: its own stream, and the other streams that hash to the same partition.
  const streamsPerBatch = Math.min(batch, 1 + (cameras - 1) / partitions);
  const objects = store === 'video' ? Math.ceil(batch / streamsPerBatch / SEGMENT_PICTURES) : 1;
  const picturesPerFrame = isPacked(store) ? (objects * streamsPerBatch) / batch : keptOf(workload);
  return {
    workload,
    framesPerSecond,
    partitions,
    /** Frames of one invocation. */
    batch,
    detect: need(seconds.detect),
    /** Undefined if annotate runs within detect. */
    annotate: seconds.annotate > 0 ? need(seconds.annotate) : undefined,
    /** Tasks of each stage that carries frames; undefined if those are Lambda functions. */
    workers: workers && workerTasks(framesPerSecond, workers, frameCpuMs(workload) / (once ? 1 : 2)),
    gpuPods: Math.max(1, Math.ceil(framesPerSecond / (gpuFps * TARGET))),
    ingestTasks: Math.ceil(ingestCores(workload) / (Number.parseFloat(stage.ingest.cpu) * TARGET)),
    // `video-frames` and `detections`, three replicas each.
    kafka: brokersFor(stage, travels(stage) * framesPerSecond * frameMb, 2 * 3 * partitions),
    s3PutsPerSecond: framesPerSecond * (picturesPerFrame + streamsPerBatch / batch),
    /** Each stream of a batch has an NDJSON of its own. */
    streamsPerBatch,
    /** From capture to stored object, mean, seconds. */
    latencySeconds: latency(load.mean * fps, batch, Object.values(seconds), stage),
  };
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

/** Kilobytes of a stored frame. */
function storedKb(workload: Workload, stage: Stage, perObject: number): number {
  const { store } = workload;
  const { annotatedKb, archivedKb } = weightsOf(stage);
  if (store !== 'video') return store === 'archive' ? archivedKb : keptOf(workload) * annotatedKb;
  // The largest measured segment that is not longer: in longer segments a frame has fewer bytes.
  const [, kb = Number.NaN] =
    Object.entries(video.videoKb).findLast(([frames]) => Number(frames) <= perObject) ?? [];
  return kb;
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

/** The smallest brokers of which at most half of MAX_BROKERS are needed, in a multiple of three: one for each zone. */
function brokersFor({ kafka: { kind } }: Stage, ingressMb: number, replicas: number): Brokers {
  const sizes = Object.entries(BROKER_SIZES).map(([size, times]) => {
    const brokers = Math.max(ingressMb / (BROKER_MB[kind] * times), replicas / maxReplicas(times));
    return { kind, size: size as BrokerSize, ingressMb, brokers: 3 * Math.max(1, Math.ceil(brokers / 3)) };
  });
  const fitting = sizes.find(({ brokers }) => brokers <= MAX_BROKERS / 2);
  return fitting ?? (sizes.at(-1) as Brokers);
}

function cost(sized: Sizes, stage: Stage) {
  const { workload, kafka, gpuPods, ingestTasks, batch } = sized;
  const { kind, brokers, size, ingressMb } = kafka;
  const { retentionHours } = stage.kafka;
  const keptGb = (ingressMb * 3600 * retentionHours * VOLUME.copies) / 1000;
  const volumeGb = Math.ceil(keptGb / VOLUME.used / brokers);
  const topic = { partitions: sized.partitions, retentionHours, brokers };
  const { frameKb, lineKb } = weightsOf(stage);
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
      cpuMs: frameCpuMs(workload),
      putsPerFrame: sized.s3PutsPerSecond / sized.framesPerSecond,
      linesPerFrame: sized.streamsPerBatch / batch,
      lineKb,
      storedKb: storedKb(workload, stage, batch / sized.streamsPerBatch),
    },
  ).items;
}

function limitsOf(sized: Sizes, stage: Stage): Limit[] {
  const { detect, annotate, workers, partitions, gpuPods, kafka, s3PutsPerSecond } = sized;
  const pods = 'replicas' in stage.inference ? stage.inference.replicas.max : 0;
  const ofFunctions: Limit[] = [
    {
      what: 'AWS: Lambda concurrency of an account',
      need: detect.reserved + (annotate?.reserved ?? 0),
      limit: 1_000,
    },
    { what: 'AWS: pollers of one mapping', need: detect.pollers, limit: 2_000 },
    { what: 'production: pollers', need: detect.pollers, limit: stage.functions.pollers?.max ?? 1 },
  ];
  const ofTasks = (need: number): Limit[] => [
    { what: 'AWS: tasks of one service', need, limit: MAX_TASKS },
    { what: 'production: tasks of a stage', need, limit: stage.functions.workers?.tasks.max ?? 0 },
  ];
  const limits: Limit[] = [
    ...(workers ? ofTasks(workers) : ofFunctions),
    { what: 'AWS: S3 PUT/s before it splits the prefix', need: Math.ceil(s3PutsPerSecond), limit: 3_500 },
    { what: 'AWS: brokers of one cluster', need: kafka.brokers, limit: MAX_BROKERS },
    { what: 'production: partitions', need: partitions, limit: stage.kafka.partitions },
    { what: 'production: GPU pods', need: gpuPods, limit: pods },
  ];
  return limits.sort((a, b) => b.need / b.limit - a.need / a.limit);
}
