import { STAGES } from '@video-pipeline/stages';
import pictures from '../docs/measured/pictures.json' with { type: 'json' };
import { classOf, PRICE, tiered, usualClass } from './prices.ts';
import {
  BROKER_SIZES,
  type BrokerSize,
  COMPACTOR_MB,
  CPU_TARGET,
  deployedStages,
  endpointsOf,
  HOST_SIZES,
  hasBastion,
  isPacked,
  lambdaOf,
  memoryOf,
  runsAsTasks,
  type Stage,
  TASKS,
  type Workers,
} from './stages.ts';
import { transferUsd } from './transfer.ts';

/** Seconds that a function or an endpoint needs for a batch of 25. */
const BATCH_SECONDS = { detect: 0.6, annotate: 0.5, serverlessInference: 1.5 };
/** CPU milliseconds of a frame in detect and annotate. */
const FRAME_CPU_MS = 10;
/** Work for the frames. It replaces the assumptions of the estimate when better figures are known. */
interface Work {
  /** Frames of a batch. `detect` and `annotate` are seconds for 25 frames. */
  batch: number;
  detect: number;
  annotate: number;
  /** CPU milliseconds for a frame, of all stages that carry frames. */
  cpuMs: number;
  putsPerFrame: number;
  /** NDJSON objects for each frame. The compactor reads each once. */
  linesPerFrame: number;
  /** Kilobytes of a stored frame; by default those of a published one. */
  storedKb?: number;
  /** Kilobytes of a frame's line of NDJSON. */
  lineKb: number;
}
/** NDJSON objects for each frame: a batch of 25 has frames of two streams. */
const LINES_PER_FRAME = 2 / 25;
/** The compactor: CPU milliseconds for a frame (`npm run bench:search`), time of a GET, and concurrent GETs. */
const COMPACTING = { cpuMs: 0.06, getMs: 20, reads: 16 };
/** PUTs for each frame: an archive and an NDJSON for each of the two streams of a batch of 25. */
const ARCHIVE_PUTS_PER_FRAME = 4 / 25;
/** Assumed events of each camera. */
const EVENTS_AN_HOUR = 6;
const SPOT_SHARE = 0.3;
const METRICS_PER_STREAM = 12;
/** Kilobytes of log that detect and annotate write for each stream of a batch, and Lambda for an invocation. */
const LOG_KB = { stream: 0.85, invocation: 0.6 };
/** Most MB/s of one poller. */
export const POLLER_MB = 5;
const MONTH_HOURS = 730;
/** Memory of an EC2 instance that tasks can't use. */
const SYSTEM_GB = 0.5;

interface Estimate {
  /** Dollars a month for each item. */
  items: { item: string; usd: number }[];
  assumptions: string[];
}

export const totalUsd = (items: Estimate['items']) => items.reduce((sum, { usd }) => sum + usd, 0);

function assumedOf({ settings }: Stage): Work {
  const { detect, annotate } = BATCH_SECONDS;
  return {
    batch: 25,
    ...(settings.PICTURES === 'once' ? { detect: detect + annotate, annotate: 0 } : { detect, annotate }),
    cpuMs: FRAME_CPU_MS,
    linesPerFrame: LINES_PER_FRAME,
    lineKb: pictures.qualities[85].lineKb,
    putsPerFrame: isPacked(settings.STORE) ? ARCHIVE_PUTS_PER_FRAME : 1,
  };
}

/** The costs of a stage in a month, from the same table as its resources. */
export function estimate(stage: Stage, work = assumedOf(stage)): Estimate {
  const { load, network, ingest, store } = stage;
  const hours = load.stageHours;
  const { workers } = stage.functions;
  const frameStages = deployedStages(stage).filter(({ step }) => step.carriesFrames).length;
  const frames = load.streams * load.frameRate * 3600 * load.cameraHours;
  const batches = frames / 25;
  const publishedGb = frames * load.frameKb * 1e-6;
  const form = classOf(stage);
  // An object of a versioned bucket is kept for a day more, see infra/storage.ts.
  const days = Math.max(store.annotatedDays + (store.versioning ? 1 : 0), form.days);
  const life = hours / 24;
  const framesOf = (kept: number) => (frames * (hours < MONTH_HOURS ? Math.min(kept, life) : kept)) / life;
  const storedGb = framesOf(days) * (work.storedKb ?? load.frameKb) * 1e-6;
  const linesGb = framesOf(store.ndjsonDays ?? store.annotatedDays) * work.lineKb * 1e-6;
  const invocations = (frameStages * frames) / work.batch;
  const logsGb =
    frames * work.linesPerFrame * LOG_KB.stream * 1e-6 +
    (workers ? 0 : invocations * LOG_KB.invocation * 1e-6);
  const [detect, annotate] = [memoryOf(stage, 'detect'), memoryOf(stage, 'annotate')];
  const lambdaGbSeconds = (batches * (work.detect * detect + work.annotate * annotate)) / 1024;
  const { natGateway, smallInstance, publicAddress, interfaceEndpoint } = PRICE.perHour;
  const nat = network.nat === 'managed' ? natGateway : smallInstance;
  const endpoints = endpointsOf(stage).length;
  // SageMaker is called through them, with the pictures.
  const endpointGb = endpoints > 0 && stage.inference.backend !== 'eks' ? publishedGb : 0;
  const items = [
    { item: `Kafka (${stage.kafka.kind})`, usd: kafkaCost(stage) },
    { item: `inference (${stage.inference.backend})`, usd: inferenceCost(stage, batches, publishedGb) },
    { item: `NAT (${network.nat})`, usd: network.zones * (nat + publicAddress) * hours },
    { item: 'bastion of the tunnel', usd: hasBastion(network) ? (smallInstance + publicAddress) * hours : 0 },
    {
      item: 'interface endpoints',
      usd: endpoints * network.zones * interfaceEndpoint * hours + endpointGb * PRICE.perGb.interfaceEndpoint,
    },
    { item: `ingest (${ingest.capacity})`, usd: ingestCost(stage) },
    { item: 'transfer between zones', usd: transferUsd(stage, publishedGb) },
    { item: 'console', usd: consoleCost(stage) },
    workers
      ? {
          item: `workers (${workers.capacity})`,
          usd: frameStages * workersCost(load, workers, work.cpuMs / frameStages),
        }
      : {
          item: 'Lambda',
          usd: lambdaGbSeconds * PRICE.lambdaGbSecondArm + (invocations * PRICE.perMillion.lambda) / 1e6,
        },
    { item: 'provisioned pollers', usd: pollersCost(stage) },
    { item: 'work on events', usd: eventsCost(stage) },
    { item: 'S3 requests', usd: (frames * requestsCost(work, form.put)) / 1e6 },
    { item: 'tables', usd: frames * tablesCost(work) },
    { item: 'S3 storage', usd: form.gbMonth ? storedGb * form.gbMonth : tiered(PRICE.s3, storedGb) },
    { item: 'S3 storage of detections', usd: tiered(PRICE.s3, linesGb) },
    {
      item: 'CloudWatch',
      usd:
        tiered(PRICE.metrics, load.streams * METRICS_PER_STREAM) +
        load.streams * 2 * PRICE.alarm +
        (logsGb + 1) * PRICE.perGb.logs,
    },
  ];
  return { items: items.filter(({ usd }) => usd > 0), assumptions: assumptions(stage, frames, work) };
}

/** Costs of S3 requests for a million frames. */
function requestsCost({ putsPerFrame, linesPerFrame }: Work, put: number): number {
  if (put === usualClass.put) return putsPerFrame * put;
  return (putsPerFrame - linesPerFrame) * put + linesPerFrame * PRICE.perMillion.s3Put;
}

/** Ingest tasks that fit on one EC2 instance: by CPU, by memory without the system's, and by network interfaces. */
export function tasksPerHost({ cpu, memory }: Stage['ingest'], instance: keyof typeof HOST_SIZES): number {
  const size = HOST_SIZES[instance];
  return Math.min(
    Math.floor(size.vcpu / Number.parseFloat(cpu)),
    Math.floor((size.memoryGb - SYSTEM_GB) / Number.parseFloat(memory)),
    size.interfaces - 1,
  );
}

function ingestCost({ ingest, load }: Stage): number {
  const tasks = Math.ceil(load.streams / ingest.streamsPerTask);
  const spot = load.stageHours * SPOT_SHARE;
  const testCamera = ingest.testCamera ? taskHour(TASKS.testCamera) * spot : 0;
  if (ingest.capacity === 'ec2') {
    const hosts = Math.ceil(tasks / tasksPerHost(ingest, ingest.instance));
    return hosts * PRICE.perHour[ingest.instance] * load.stageHours + testCamera;
  }
  const hours = ingest.capacity === 'spot' ? spot : load.stageHours;
  return tasks * taskHour(ingest) * hours + testCamera;
}

/**
 * Tasks of one stage that the frames need; ECS never runs fewer than `tasks.min`.
 * @param cpuMs CPU milliseconds for a frame in this stage
 */
export function workerTasks(framesPerSecond: number, { cpu, tasks }: Workers, cpuMs: number): number {
  const vcpus = (framesPerSecond * cpuMs) / 1000 / (CPU_TARGET / 100);
  return Math.max(tasks.min, Math.ceil(vcpus / Number.parseFloat(cpu)));
}

/** The tasks of one stage, on average. */
function workersCost(load: Stage['load'], workers: Workers, cpuMs: number): number {
  const tasks = workerTasks(load.streams * load.frameRate, workers, cpuMs);
  const hours = tasks * load.cameraHours + workers.tasks.min * (load.stageHours - load.cameraHours);
  return hours * taskHour(workers) * (workers.capacity === 'spot' ? SPOT_SHARE : 1);
}

/** Load balancer with an address in each zone, and its task. Cognito is free for the first 10,000 users. */
function consoleCost({ console, network, load }: Stage): number {
  if (!console) return 0;
  const { applicationLoadBalancer, publicAddress } = PRICE.perHour;
  const hour = applicationLoadBalancer + network.zones * publicAddress + taskHour(TASKS.console);
  return hour * load.stageHours;
}

/** Costs of writing one frame into the tables. */
function tablesCost({ linesPerFrame }: Work): number {
  const { cpuMs, getMs, reads } = COMPACTING;
  const seconds = (cpuMs + (linesPerFrame * getMs) / reads) / 1000;
  const lambda = (seconds * COMPACTOR_MB * PRICE.lambdaGbSecondArm) / 1024;
  return lambda + (linesPerFrame * PRICE.perMillion.s3Get) / 1e6;
}

const taskHour = ({ cpu, memory }: { cpu: string; memory: string }) =>
  Number.parseFloat(cpu) * PRICE.perHour.fargateCpuArm +
  Number.parseFloat(memory) * PRICE.perHour.fargateGbArm;

/** How often a JPEG is sent over Kafka. */
export const travels = ({ settings }: Pick<Stage, 'settings'>) => (settings.PICTURES === 'once' ? 1 : 2);

/** Dollars for a broker and an hour. */
function brokerHour(instance: Stage['kafka']['instance']): number {
  if (instance === 'kafka.t3.small') return PRICE.perHour[instance];
  const [kind, , size] = instance.split('.') as ['kafka' | 'express', 'm7g', BrokerSize];
  return PRICE.perHour[`${kind}.m7g.large`] * BROKER_SIZES[size];
}

function kafkaCost(stage: Stage): number {
  const { kafka, load } = stage;
  const hours = load.stageHours;
  const brokers = kafka.brokers * brokerHour(kafka.instance) * hours;
  if (kafka.kind === 'express') {
    // Express brokers store three copies and charge for one.
    const gbPerHour = (travels(stage) * load.streams * load.frameRate * load.frameKb * 3600) / 1e6;
    const stored = gbPerHour * kafka.retentionHours * PRICE.perGbMonth.expressBroker;
    return brokers + gbPerHour * load.cameraHours * PRICE.perGb.expressWritten + stored;
  }
  return brokers + kafka.brokers * kafka.volumeGb * PRICE.perGbMonth.broker * (hours / MONTH_HOURS);
}

function inferenceCost({ inference, load }: Stage, batches: number, gigabytes: number): number {
  const hours = load.stageHours;
  if (inference.backend === 'sagemaker-serverless')
    return batches * BATCH_SECONDS.serverlessInference * PRICE.serverlessInferenceSecond;
  if (inference.backend === 'sagemaker')
    return inference.replicas.min * PRICE.perHour[inference.instance] * hours;
  const node = inference.gpu.capacity[0] === 'spot' ? PRICE.perHour.gpuNodeSpot : PRICE.perHour.gpuNode;
  const pods = Math.max(1, inference.replicas.min);
  const others = PRICE.perHour.eks + PRICE.perHour.systemNodes + PRICE.perHour.networkLoadBalancer;
  return (pods * node + others) * hours + gigabytes * PRICE.perGb.networkLoadBalancer;
}

/**
 * Capacity of one billing unit of provisioned pollers: their number, and MB/s.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html, 'Cost optimization for provisioned mode'
 */
const POLLER_UNIT = { pollers: 10, mb: 20 };

/**
 * The mappings of a stage share units. Each needs its minimum of pollers, or as many as its topic's traffic requires.
 */
function pollersCost(stage: Stage): number {
  const { pollers } = stage.functions;
  if (!pollers) return 0;
  const { load } = stage;
  const mb = (load.streams * load.frameRate * load.frameKb) / 1000;
  const mapped = deployedStages(stage).filter(({ step }) => !runsAsTasks(stage, step));
  const topics = mapped.map(({ step }) => (step.carriesFrames ? mb : 0));
  const needed = topics.map((each) => Math.max(pollers.min, Math.ceil(each / POLLER_MB)));
  const total = (list: number[]) => list.reduce((sum, one) => sum + one, 0);
  const units = Math.ceil(Math.max(total(needed) / POLLER_UNIT.pollers, total(topics) / POLLER_UNIT.mb));
  return units * PRICE.perHour.eventPollerUnit * load.stageHours;
}

/** Costs of the stages that process events, from the table of stages. */
function eventsCost(stage: Stage): number {
  const { load, store } = stage;
  const events = load.streams * load.cameraHours * EVENTS_AN_HOUR;
  const kept = Math.min(events, load.streams * 24 * store.clipDays * EVENTS_AN_HOUR);
  return STAGES.reduce((sum, step) => {
    const { perEvent } = step.lambda;
    const size = lambdaOf(stage, step);
    if (!perEvent || !size) return sum;
    const lambda = (perEvent.seconds * size.memoryMb * PRICE.lambdaGbSecondArm) / 1024;
    const requests = (perEvent.gets * PRICE.perMillion.s3Get + perEvent.puts * PRICE.perMillion.s3Put) / 1e6;
    return sum + events * (lambda + requests) + kept * perEvent.keptMb * 1e-3 * PRICE.perGbMonth.s3;
  }, 0);
}

function assumptions(stage: Stage, frames: number, work: Work): string[] {
  const { load, inference, functions } = stage;
  return [
    'list prices of us-east-1 in 2026-11; no taxes or free tiers',
    `${load.streams} cameras, ${load.frameRate} frames/s of ${load.frameKb} KB, ${load.cameraHours} of the stage's ${load.stageHours} hours a month: ${(frames / 1e6).toFixed(1)} million frames`,
    `a batch of 25 takes detect ${work.detect} s and annotate ${work.annotate} s`,
    ...(functions.pollers
      ? ['provisioned pollers in units of ten or 20 MB/s, shared by all mappings of the stage']
      : []),
    `NDJSON of detections is counted for ${stage.store.ndjsonDays ?? stage.store.annotatedDays} days`,
    ...(eventsCost(stage) > 0 ? [`${EVENTS_AN_HOUR} events of each camera an hour`] : []),
    ...(inference.backend === 'eks'
      ? ['the fewest pods, one at least while the cameras run; two small nodes; no Container Insights']
      : []),
    ...(inference.backend === 'sagemaker-serverless'
      ? [`serverless inference takes ${BATCH_SECONDS.serverlessInference} s a batch`]
      : []),
  ];
}
