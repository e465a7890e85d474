// The inference server against bare onnxruntime and, with --peer, against FastAPI + ultralytics, in turn, in one run.
//   npm run bench:model -- --help
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { quantise } from '../../model/src/quantise.ts';
import { jpegs720p } from './footage.ts';
import { type Load, measure, type Sample, type Target, THRESHOLD } from './model-load.ts';
import { npmScript, positiveInteger } from './options.ts';
import { FORMS, type Form, serveUltralytics } from './peers/python.ts';
import { median, quantile, start } from './processes.ts';
import { buildYolov8n } from './yolov8n.ts';

interface Options {
  peer: boolean;
  device: string;
  precision: string;
  model?: string;
  rounds: number;
  frames: number;
  threads: number;
  url?: string;
}

const options = npmScript('bench:model', 'Frames/s and latency of the model server beside bare onnxruntime.')
  .option('--peer', 'beside FastAPI + ultralytics in its three forms too, installed from PyPI', false)
  .option('--device <device>', 'where our server runs the model', 'cpu')
  .option('--precision <numbers>', 'what it may compute with; `int8` quantises YOLOv8n first', 'f32')
  .option('--model <file.onnx>', 'the model; YOLOv8n with random weights without it')
  .option('--rounds <n>', 'how often each case is measured', positiveInteger, 5)
  .option('--frames <n>', 'frames of one measurement, a multiple of 25', positiveInteger, 100)
  .option('--threads <n>', 'inference threads of each server', positiveInteger, 2)
  .option('--url <server>', 'a server that runs already; without it one is started')
  .parse()
  .opts<Options>();
const FRAMES = options.frames;
const LOADS: Load[] = [
  { framesPerRequest: 25, concurrency: 1, frames: FRAMES },
  { framesPerRequest: 25, concurrency: 2, frames: FRAMES },
  { framesPerRequest: 25, concurrency: 8, frames: FRAMES },
  { framesPerRequest: 1, concurrency: 1, frames: FRAMES },
  { framesPerRequest: 1, concurrency: 8, frames: FRAMES },
];
const peerName = (form: Form) => `FastAPI + ultralytics, ${form}`;
/** What all servers are asked, word for word: base64 JPEGs in JSON. */
const PEER_LOADS = LOADS.slice(0, 2);

interface Bound {
  fps: number;
  cpuMs: number;
}

interface Case {
  server: string;
  target: Target;
  load: Load;
  samples: Sample[];
}

const run = promisify(execFile);
const weights = join(cacheDir(), 'bench', 'yolov8n-random.onnx');
await buildYolov8n(weights);
const stack = new AsyncDisposableStack();
let path = options.model ?? weights;
try {
  if (!options.model && options.precision === 'int8') path = await int8Of(weights);
  const cases = await prepare();
  const bounds = await alternate(cases, await jpegs720p(25));
  report(cases, bounds);
} finally {
  await stack.disposeAsync();
}

/** The model in int8, calibrated on the pictures that are asked; made once. */
async function int8Of(file: string): Promise<string> {
  const output = file.replace('.onnx', '-int8.onnx');
  if (existsSync(output)) return output;
  const pictures = await mkdtemp(join(tmpdir(), 'bench-pictures-'));
  stack.defer(() => rm(pictures, { recursive: true }));
  for (const [index, jpeg] of (await jpegs720p(25)).entries())
    await writeFile(join(pictures, `${index}.jpg`), jpeg);
  await quantise(file, { pictures, output, confidence: THRESHOLD, maxPixels: 1e6, note: console.error });
  return output;
}

async function prepare(): Promise<Case[]> {
  const args = ['model/src/main.ts', '--model', path, '--port', '0', '--threads', String(options.threads)];
  args.push('--device', options.device, '--precision', options.precision);
  const server = options.url ? undefined : await start('model', args);
  stack.defer(() => server?.stop());
  const base = server?.url ?? options.url ?? '';
  const { model } = (await (await fetch(new URL('/health', base))).json()) as { model: string };
  const pid = server ? { pid: server.pid } : {};
  const v2: Target = { url: new URL(`/v2/models/${model}/infer`, base), protocol: 'v2', ...pid };
  const cases = LOADS.map((load): Case => ({ server: 'ours', target: v2, load, samples: [] }));
  if (!options.peer) return cases;
  const predict: Target = { url: new URL('/predict', base), protocol: 'predict', ...pid };
  for (const load of PEER_LOADS) cases.push({ server: 'ours', target: predict, load, samples: [] });
  for (const form of FORMS) {
    const peer = await serveUltralytics(form, weights, { threads: options.threads });
    stack.defer(() => peer.stop());
    const target: Target = { url: new URL('/predict', peer.url), protocol: 'predict', pid: peer.pid };
    for (const load of PEER_LOADS) cases.push({ server: peerName(form), target, load, samples: [] });
  }
  return cases;
}

/** Measures all cases in each round, so that what else the machine does falls on all alike. */
async function alternate(cases: Case[], jpegs: Buffer[]): Promise<Bound[]> {
  const bounds: Bound[] = [];
  for (let round = 0; round < options.rounds; round++) {
    if (!options.url) bounds.push(await bound());
    for (const { target, load, samples } of cases) samples.push(await measure(target, load, jpegs));
  }
  return bounds;
}

/** The model alone: one session on all threads, or as many sessions of one thread, whichever does more frames. */
async function bound(): Promise<Bound> {
  const { threads } = options;
  const alone = async (sessionThreads: number): Promise<Bound> => {
    const args = ['test/bench/bound.ts', path, String(sessionThreads), '40'];
    return JSON.parse((await run(process.execPath, args)).stdout);
  };
  const together = await alone(threads);
  const apart = await Promise.all(Array.from({ length: threads }, () => alone(1)));
  const fps = apart.reduce((sum, one) => sum + one.fps, 0);
  return together.fps > fps ? together : { fps, cpuMs: apart[0]?.cpuMs ?? Number.NaN };
}

function report(cases: Case[], bounds: Bound[]): void {
  const bare = median(bounds.map(({ fps }) => fps));
  console.log(`${path}, 1280x720 JPEGs, medians of ${options.rounds} rounds`);
  if (bounds.length > 0) {
    const cpu = median(bounds.map(({ cpuMs }) => cpuMs)).toFixed(1);
    console.log(`bare onnxruntime, ready-made tensors: ${bare.toFixed(1)} frames/s, ${cpu} CPU ms a frame`);
  }
  console.table(cases.map((one) => row(one, bounds)));
  for (const load of options.peer ? PEER_LOADS : []) {
    const asked = cases.filter((one) => one.load === load && one.target.protocol === 'predict');
    const [ours, ...peers] = asked;
    for (const peer of peers) {
      const ratios = ours?.samples.map(
        ({ framesPerSecond }, round) =>
          framesPerSecond / (peer.samples[round]?.framesPerSecond ?? Number.NaN),
      );
      const times = median(ratios ?? []).toFixed(2);
      console.log(`${load.concurrency} x 25 frames by /predict: ${times} times ${peer.server}`);
    }
  }
}

function row({ server, target, load, samples }: Case, bounds: Bound[]) {
  const rate = median(samples.map(({ framesPerSecond }) => framesPerSecond));
  // By round, so that what else the machine did then falls out.
  const shares = samples.map(
    ({ framesPerSecond }, round) => framesPerSecond / (bounds[round]?.fps ?? Number.NaN),
  );
  const latencies = samples.flatMap((sample) => sample.latencies);
  return {
    server,
    protocol: target.protocol,
    'frames a request': load.framesPerRequest,
    'at once': load.concurrency,
    'frames/s': rate.toFixed(1),
    'of bare': bounds.length > 0 ? `${(100 * median(shares)).toFixed(0)} %` : '',
    'CPU ms/frame': median(samples.map(({ cpuMsPerFrame }) => cpuMsPerFrame)).toFixed(1),
    'p50 ms': quantile(latencies, 0.5).toFixed(0),
    'p99 ms': quantile(latencies, 0.99).toFixed(0),
  };
}
