// How fast the pipeline takes 720p frames with YOLOv8n 640, beside bare onnxruntime in the same run.
//   npm run bench -- --help
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { encodeFrame } from '@video-pipeline/frame';
import { orderedProducer } from '@video-pipeline/kafka';
import { type KafkaServer, startKafka } from '@video-pipeline/local';
import { parseMetrics } from '@video-pipeline/telemetry';
import { Option } from 'commander';
import { footage720p, jpegs720p } from './footage.ts';
import { benchKafka, makeTopics } from './kafka.ts';
import { npmScript, positiveInteger, positiveNumber } from './options.ts';
import { FORMS, serveUltralytics } from './peers/python.ts';
import { type Measured, median, meterCpu, quantile, start } from './processes.ts';
import { rounded, saveMeasured } from './save.ts';
import { buildYolov8n } from './yolov8n.ts';

interface Options {
  frames: number;
  source: 'kafka' | 'file' | 'both';
  threads: number;
  threshold: number;
  device: string;
  precision: string;
  peer: boolean;
  stores: boolean;
  rounds: number;
  json: boolean;
  save: boolean;
}

const options = npmScript('bench', 'How fast the pipeline takes 720p frames, beside bare onnxruntime.')
  .option('--frames <n>', 'frames of a run', positiveInteger, 500)
  .addOption(
    new Option('--source <source>', 'a backlog in Kafka, or a file that ingest reads')
      .choices(['kafka', 'file', 'both'])
      .default('both'),
  )
  .option('--threads <n>', 'inference threads', positiveInteger, 2)
  .option('--device <device>', 'where the model server runs the model', 'cpu')
  .option('--precision <numbers>', 'what it may compute with', 'f32')
  .option('--threshold <confidence>', 'detections under it are left out, up to 1', positiveNumber, 0.5)
  .option('--peer', 'beside FastAPI + ultralytics in its three forms as the model server too', false)
  .option('--stores', 'with each form of STORE beside frames, from Kafka', false)
  .option('--rounds <n>', 'how often each is measured from Kafka; medians are told', positiveInteger, 1)
  .option('--json', 'print JSON', false)
  .option('--save', 'keep the figures in docs/measured, for docs/performance.md and capacity', false)
  .parse()
  .opts<Options>();
const FRAMES = options.frames;
/** Frames before those that are measured, in each run: Node compiles what it runs often, for so long. */
const WARM = 300;
const STREAMS = ['bench-a', 'bench-b', 'bench-c', 'bench-d'];
/** Frames that wait behind those that are measured: as many as are under way, so that no stage runs dry. */
const AFTER = 200;
/** Longest time without a stored frame; after it the benchmark has failed. */
const STALL_MS = 120_000;
const root = resolve(import.meta.dirname, '../..');
const note = (line: string) => void process.stderr.write(`${line}\n`);

interface Bound {
  fps: number;
  cpuMs: number;
}

interface Run {
  source: string;
  /** What is measured: ours, a form of the peer as the model server, or another form of STORE. */
  server: string;
  fps: number;
  seconds: number;
  /** CPU milliseconds a frame, by process. */
  cpu: Record<string, number>;
  inferenceMs: { p50: number; p95: number };
}

const model = join(cacheDir(), 'bench', 'yolov8n-random.onnx');
if (!existsSync(model)) await buildYolov8n(model);
const dataDir = await mkdtemp(join(tmpdir(), 'bench-'));
const stoppers: (() => Promise<void>)[] = [() => rm(dataDir, { recursive: true, force: true })];
process.once('SIGINT', () => void stopAll().then(() => process.exit(130)));
try {
  const result = await measure();
  console.log(options.json ? JSON.stringify(result) : report(result));
  if (options.save) save(result);
} finally {
  await stopAll();
}

async function stopAll(): Promise<void> {
  for (const stop of stoppers.splice(0).reverse()) await stop();
}

interface Result {
  bounds: Bound[];
  runs: Run[];
  /** How many times as fast as a peer's server ours is, from Kafka: the median of the rounds. */
  times: Record<string, number>;
}

async function measure(): Promise<Result> {
  const jpegs = await jpegs720p(50);
  const bounds = [await bound()];
  const kafka = await startKafka({ dataDir, note });
  stoppers.push(() => kafka.stop());
  const env: Record<string, string> = {
    KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap,
    AWS_ACCESS_KEY_ID: 'bench',
    AWS_SECRET_ACCESS_KEY: 'bench',
    INFERENCE_CONFIDENCE_THRESHOLD: String(options.threshold),
    PORT: '0',
  };
  const s3 = await keep(start('s3', [join(root, 'test/bench/s3-server.ts')], env));
  const server = await keep(
    start(
      'model',
      [
        ...[join(root, 'model/src/main.ts'), '--model', model, '--threads', String(options.threads)],
        ...['--device', options.device, '--precision', options.precision],
      ],
      env,
    ),
  );
  Object.assign(env, { AWS_ENDPOINT_URL: s3.url, INFERENCE_SERVICE_URL: server.url });
  const parts: Parts = { kafka, servers: [s3, server], env };
  const runs: Run[] = [];
  const others = [...(await peers(parts)), ...stores(parts)];
  const rounds = await inTurn([['ours', parts], ...others], jpegs);
  for (const [server, own] of rounds) runs.push(medianRun(server, own));
  if (options.source !== 'kafka') runs.push(await fromFile(parts, jpegs));
  bounds.push(await bound());
  return { bounds, runs, times: timesOf(rounds) };
}

/** The same pipeline before another model server, which speaks `/predict` alone. */
async function peers(parts: Parts): Promise<[string, Parts][]> {
  const others: [string, Parts][] = [];
  for (const form of options.peer ? FORMS : []) {
    const { url, pid, stop } = await serveUltralytics(form, model, {
      threads: options.threads,
      PEER_THRESHOLD: String(options.threshold),
    });
    stoppers.push(stop);
    const [s3] = parts.servers;
    const servers = [s3, { name: 'model', pid }].filter((one) => one !== undefined);
    const own = { ...parts, servers, env: { ...parts.env, INFERENCE_SERVICE_URL: url } };
    others.push([`FastAPI + ultralytics, ${form}`, own]);
  }
  return others;
}

/** The same pipeline with other values of STORE. With `events` nothing is of interest: all frames are counted alone. */
function stores(parts: Parts): [string, Parts][] {
  const forms = options.stores ? ['archive', 'video', 'events'] : [];
  return forms.map((STORE) => [
    `STORE=${STORE}`,
    { ...parts, env: { ...parts.env, STORE, STORE_CLASSES: 'none' } },
  ]);
}

/** Each in every round, so that what else the machine does falls on all alike. */
async function inTurn(servers: [string, Parts][], jpegs: Buffer[]): Promise<Map<string, Run[]>> {
  const rounds = new Map<string, Run[]>();
  for (let round = 0; options.source !== 'file' && round < options.rounds; round++) {
    for (const [index, [server, parts]] of servers.entries()) {
      const run = await measureRun(parts, jpegs, `kafka-${round}-${index}`);
      rounds.set(server, [...(rounds.get(server) ?? []), run]);
    }
  }
  return rounds;
}

/** That of the median rate, with the server's name. */
function medianRun(server: string, runs: readonly Run[]): Run {
  const sorted = runs.toSorted((a, b) => a.fps - b.fps);
  return { ...(sorted[Math.floor(sorted.length / 2)] as Run), source: 'kafka', server };
}

function timesOf(rounds: ReadonlyMap<string, Run[]>): Record<string, number> {
  const ours = rounds.get('ours') ?? [];
  const others = [...rounds].filter(([server]) => server.startsWith('FastAPI'));
  return Object.fromEntries(
    others.map(([server, runs]) => [
      server,
      median(runs.map(({ fps }, round) => (ours[round]?.fps ?? Number.NaN) / fps)),
    ]),
  );
}

interface Parts {
  kafka: KafkaServer;
  /** The S3 server first. */
  servers: { name: string; pid: number }[];
  env: Record<string, string>;
}

async function keep(starting: Promise<Measured>): Promise<Measured> {
  const one = await starting;
  stoppers.push(() => one.stop());
  return one;
}

async function bound(): Promise<Bound> {
  const args = [join(root, 'test/bench/bound.ts'), model, String(options.threads), '100'];
  return JSON.parse((await promisify(execFile)(process.execPath, args)).stdout);
}

/** The ingest host reads a file as fast as the rest takes it. */
async function fromFile(parts: Parts, jpegs: Buffer[]): Promise<Run> {
  const streams = [{ id: 'bench-file', url: await footage720p() }];
  return measureRun(parts, jpegs, 'file', (topic) =>
    start('ingest', [join(root, 'ingest-host/src/main.ts')], {
      ...parts.env,
      STREAMS: JSON.stringify(streams),
      FRAME_RATE: '25',
      MAX_FRAMES: String(FRAMES),
      KAFKA_TOPIC: topic,
      HEALTH_PORT: '0',
    }),
  );
}

interface Topics {
  frames: string;
  detections: string;
}

async function topicsOf({ kafka }: Parts, run: string): Promise<Topics> {
  const topics = { frames: `frames-${run}`, detections: `detections-${run}` };
  await makeTopics(kafka.bootstrap, Object.values(topics), 4);
  return topics;
}

async function publish(parts: Parts, topic: string, jpegs: Buffer[], frames: number): Promise<void> {
  const producer = orderedProducer(benchKafka(parts.kafka.bootstrap));
  await producer.connect();
  const now = Date.now();
  for (let first = 0; first < frames; first += STREAMS.length) {
    const messages = STREAMS.slice(0, frames - first).map((streamId, index) =>
      encodeFrame({
        streamId,
        frameNumber: first / STREAMS.length,
        session: 'bench',
        capturedAt: now + first,
        width: 1280,
        height: 720,
        jpeg: jpegs[(first + index) % jpegs.length] ?? Buffer.alloc(0),
      }),
    );
    await producer.send({ topic, messages });
  }
  await producer.disconnect();
}

/**
 * Starts annotate and detect, and lets them work until they are warm. Measures from then on. A backlog is in Kafka
 * before they start, and does not end with the measurement: neither publishing it nor an idle stage is part of a frame.
 * With `ingest` it measures until all its frames lie in S3.
 */
async function measureRun(
  parts: Parts,
  jpegs: Buffer[],
  run: string,
  ingest?: (topic: string) => Promise<Measured>,
): Promise<Run> {
  const topics = await topicsOf(parts, run);
  const env = { ...parts.env, KAFKA_TOPIC: topics.frames, KAFKA_DETECTIONS_TOPIC: topics.detections };
  const main = join(root, 'packages/event-source/src/main.ts');
  const worker = (name: string, topic: string) => {
    const handler = join(root, `functions/src/${name}.ts`);
    const args = ['--handler', handler, '--topic', topic, '--group', `${run}-${name}`];
    return start(name, [main, ...args], env);
  };
  await publish(parts, topics.frames, jpegs, ingest ? WARM : WARM + FRAMES + AFTER);
  const workers: Measured[] = [];
  let meter: ReturnType<typeof meterCpu> | undefined;
  try {
    workers.push(await worker('annotate', topics.detections));
    workers.push(await worker('detect', topics.frames));
    const stored = watch(workers);
    const first = await stored.until(WARM);
    note(`${run}: warm after ${first.frames} frames, ${FRAMES} follow`);
    if (ingest) workers.push(await ingest(topics.frames));
    meter = meterCpu([...parts.servers, { name: 'kafka', pid: parts.kafka.pid }, ...workers]);
    const began = performance.now();
    const last = await stored.until(WARM + FRAMES);
    const seconds = (performance.now() - began) / 1000;
    const frames = last.frames - first.frames;
    const spent = Object.entries(meter.stop()).map(([name, ms]) => [name, ms / frames]);
    const inference = last.inference.slice(first.inference.length);
    return {
      source: run,
      server: 'ours',
      seconds,
      fps: frames / seconds,
      cpu: Object.fromEntries(spent),
      inferenceMs: { p50: quantile(inference, 0.5), p95: quantile(inference, 0.95) },
    };
  } finally {
    meter?.stop();
    await Promise.all(workers.map((one) => one.stop()));
  }
}

/** Frames that annotate has stored so far, and milliseconds of each inference call. */
interface Progress {
  frames: number;
  inference: number[];
}

/** Follows what the workers report from now on. `until` resolves with the progress once so many frames are stored. */
function watch(workers: Measured[]) {
  const now: Progress = { frames: 0, inference: [] };
  let awaited = { frames: Number.POSITIVE_INFINITY, ...Promise.withResolvers<Progress>() };
  let watchdog: NodeJS.Timeout | undefined;
  const check = () => {
    if (now.frames >= awaited.frames) awaited.resolve({ ...now, inference: [...now.inference] });
  };
  for (const worker of workers) {
    worker.onLine((line) => {
      const values = parseMetrics(line)?.values;
      now.inference.push(...(values?.InferenceTime ?? []));
      if (values?.FramesFailed) awaited.reject(new Error(`frames failed: ${line}`));
      for (const count of values?.FramesAnnotated ?? []) now.frames += count;
      if (values?.FramesAnnotated) watchdog?.refresh();
      check();
    });
  }
  return {
    until(frames: number): Promise<Progress> {
      const stalled = () => awaited.reject(new Error(`only ${now.frames} of ${frames} frames stored`));
      watchdog = setTimeout(stalled, STALL_MS);
      awaited = { frames, ...Promise.withResolvers<Progress>() };
      check();
      return awaited.promise.finally(() => clearTimeout(watchdog));
    },
  };
}

function save({ bounds, runs, times }: Result): void {
  const best = bounds.reduce((a, b) => (a.fps > b.fps ? a : b));
  const [kafka, file] = ['kafka', 'file'].map((source) => runs.find((run) => run.source === source));
  const { kafka: broker, detect, annotate, model, s3 } = kafka?.cpu ?? {};
  saveMeasured('pipeline', {
    bound: { fps: rounded(best.fps), cpuMs: rounded(best.cpuMs) },
    ...(kafka && {
      fromKafka: {
        fps: rounded(kafka.fps),
        cpuMs: Object.fromEntries(
          Object.entries({ kafka: broker, detect, model, annotate, s3 }).map(([name, ms = 0]) => [
            name,
            rounded(ms),
          ]),
        ),
      },
    }),
    ...(options.peer && { timesAPeer: times }),
    ...(file && { fromFile: { fps: rounded(file.fps), ingestCpuMs: rounded(file.cpu.ingest ?? 0) } }),
  });
}

function report({ bounds, runs, times }: Result): string {
  const best = bounds.reduce((a, b) => (a.fps > b.fps ? a : b));
  const machine = `${cpus().length} x ${cpus()[0]?.model.trim()}, node ${process.version}`;
  const lines = [
    `machine      ${machine}`,
    `bound        ${best.fps.toFixed(1)} frames/s: bare onnxruntime, YOLOv8n 640x384, ${options.threads} threads, ` +
      `${best.cpuMs.toFixed(1)} CPU ms a frame (before and after: ${bounds.map((one) => one.fps.toFixed(1)).join(', ')})`,
  ];
  for (const run of runs) {
    const outside =
      ['detect', 'annotate', 'model'].reduce((sum, name) => sum + (run.cpu[name] ?? 0), 0) - best.cpuMs;
    lines.push(
      `from ${run.source.padEnd(8)}${run.server === 'ours' ? '' : `${run.server}: `}${run.fps.toFixed(1)} frames/s (${((100 * run.fps) / best.fps).toFixed(0)} % of the bound), ` +
        `${run.seconds.toFixed(1)} s; one inference call p50 ${run.inferenceMs.p50.toFixed(0)} p95 ${run.inferenceMs.p95.toFixed(0)} ms`,
      `  CPU ms a frame: ${Object.entries(run.cpu)
        .map(([name, ms]) => `${name} ${ms.toFixed(1)}`)
        .join(', ')}; detect, annotate and model outside inference ${outside.toFixed(1)}`,
    );
  }
  for (const [peer, ratio] of Object.entries(times)) lines.push(`${ratio.toFixed(2)} times ${peer}`);
  return lines.join('\n');
}
