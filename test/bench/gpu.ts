// What a GPU gives: YOLOv8n by batch size and precision, bare and through the server, beside its peers, in one run.
//   npm run bench:gpu -- --help
// Needs an NVIDIA driver of version 580 or newer. Fetches onnxruntime's CUDA provider, and CUDA's libraries with Python's
// onnxruntime. With VIDEO_PIPELINE_OFFLINE=1 nothing is fetched: the provider, the pictures and the model in fp16 have to
// be in the cache (`--device cpu` on another machine makes the last two), and the libraries of the machine's own
// `nvidia-*` packages are used. What needs Python's onnxruntime is then left out. `--device cpu` tries the script.
import { execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { exitWithError } from '@video-pipeline/lifecycle';
import { readPictureHeader } from '@video-pipeline/picture';
import { decodeRgb } from '@video-pipeline/picture/codec';
import { messageOf, withTimeout } from '@video-pipeline/telemetry';
import { Option } from 'commander';
import { installCudaProvider } from '../../model/src/cuda-provider.ts';
import { readModelFile } from '../../model/src/model-file.ts';
import { jpegs720p } from './footage.ts';
import { measure } from './model-load.ts';
import { npmScript, positiveInteger, positiveNumber } from './options.ts';
import { type PythonPeer, peerPython, servePeer, ULTRALYTICS } from './peers/python.ts';
import { quantile, start } from './processes.ts';
import { buildYolov8n } from './yolov8n.ts';

// Decoding takes all cores, as in the image. libuv's threads exist before the first line of this file.
if (!process.env.UV_THREADPOOL_SIZE) {
  const env = { ...process.env, UV_THREADPOOL_SIZE: String(Math.max(4, availableParallelism())) };
  process.exit(spawnSync(process.execPath, process.argv.slice(1), { stdio: 'inherit', env }).status ?? 1);
}

const options = npmScript('bench:gpu', 'YOLOv8n on a GPU: bare, through the server, and beside its peers.')
  .addOption(
    new Option('--device <device>', '`cpu` tries the script itself').choices(['cuda', 'cpu']).default('cuda'),
  )
  .option('--frames <n>', 'frames of one measurement', positiveInteger, 3000)
  .option('--minutes <n>', 'longest time of all, but for what is fetched', positiveNumber, 9)
  .option('--peer', 'beside FastAPI + ultralytics too, installed from PyPI', false)
  .parse()
  .opts<{ device: 'cuda' | 'cpu'; frames: number; minutes: number; peer: boolean }>();
const BATCHES = [1, 8, 25, 64];
/** Most batches of one measurement: small ones would take minutes. */
const MOST_BATCHES = 200;
/** Candidates that the graph chooses. */
const CANDIDATES = 300;
/** Of the same version as onnxruntime-node, so that both run the same kernels. */
const PEERS: Record<typeof options.device, PythonPeer> = {
  cuda: {
    name: 'onnxruntime-gpu',
    packages: ['onnxruntime-gpu[cuda,cudnn]==1.30.0', 'onnx==1.23.2', 'sympy'],
  },
  cpu: { name: 'onnxruntime', packages: ['onnxruntime==1.30.0', 'onnx==1.23.2', 'sympy'] },
};
/** Longest time of a program that measures, and half of a step's, milliseconds. */
const STEP_MS = 120_000;
const execute = promisify(execFile);
const run = (program: string, args: string[] = [], more: { env?: NodeJS.ProcessEnv } = {}) =>
  execute(program, args, { timeout: STEP_MS, ...more });
// Before anything is fetched.
if (options.device === 'cuda')
  await run('nvidia-smi').catch(() =>
    exitWithError(
      new Error('there is no NVIDIA GPU here (nvidia-smi failed); --device cpu tries the script'),
    ),
  );
const script = join(import.meta.dirname, 'peers/onnxruntime_gpu.py');
const python = await peerPython(PEERS[options.device]).catch((error: Error) => {
  const [reason] = error.message.split('\n');
  console.error(`without Python's onnxruntime and fp16, which it converts to: ${reason}`);
  return undefined;
});
const env = options.device === 'cuda' ? await cudaEnvironment() : process.env;
const folder = join(cacheDir(), 'bench');
const fp32 = join(folder, 'yolov8n-random.onnx');
await buildYolov8n(fp32);
const fp16 = join(folder, 'yolov8n-fp16.onnx');
if (python) await run(python, [script, 'convert', fp32, fp16]);
const models = { fp32, ...(existsSync(fp16) && { fp16 }) };
const jpegs = await jpegs720p(25);
const ends = performance.now() + 60_000 * options.minutes;
await step('frames/s of 720p JPEGs decoded, and CPU ms of each', decoding);
for (const [precision, model] of Object.entries(models)) {
  await step(`YOLOv8n ${precision}: JPEGs in, detections out`, () => throughServer(model));
  let selecting: Promise<string> | undefined;
  await step(
    `YOLOv8n ${precision} on ${options.device}: frames/s where the size of batches changes`,
    async () => {
      selecting ??= withSelection(model);
      return changing(await selecting);
    },
  );
  for (const batch of BATCHES)
    await step(`YOLOv8n ${precision} on ${options.device}, 640x384, frames/s`, async () => {
      selecting ??= withSelection(model);
      return compare(model, await selecting, batch);
    });
}
if (options.peer) await step('FastAPI + ultralytics', () => throughPeer(fp32));
// A server that was given up may still be starting.
process.exit();

/** Prints at once what a step gives. One that fails or hangs ends no other: the machine may be lent for minutes. */
async function step(title: string, work: () => Promise<object>): Promise<void> {
  console.log(title);
  const left = Math.ceil(Math.min(ends - performance.now(), 2 * STEP_MS));
  if (left <= 0) return console.log(`left out: the ${options.minutes} minutes are over`);
  try {
    console.table([await withTimeout(left, work())]);
  } catch (error) {
    process.exitCode = 1;
    console.log(`failed: ${messageOf(error as Error)}`);
  }
}

/** The model as the server gives it to a GPU: uint8 frames in, the best candidates out. */
async function withSelection(model: string): Promise<string> {
  const file = await readModelFile(model);
  await file.pool.close();
  // Its folder is the operating system's to clean: what it lies in goes with the lent machine.
  return (await file.withSelection(CANDIDATES)) ?? file.onnx;
}

/** The session alone. Where Node and Python lag behind `on device`, copies to and from the GPU bound them. */
async function compare(model: string, selecting: string, batch: number) {
  const { device } = options;
  const frames = Math.min(options.frames, MOST_BATCHES * batch);
  const bound = (path: string) => [
    join(import.meta.dirname, 'bound.ts'),
    ...[path, '2', String(frames), device, String(batch)],
  ];
  const [node, gpu] = await watched(() => run(process.execPath, bound(model), { env }));
  const chosen = await run(process.execPath, bound(selecting), { env });
  const row = {
    batch,
    'node, all outputs': JSON.parse(node.stdout).fps,
    'node, best chosen in the graph': JSON.parse(chosen.stdout).fps,
    ...(python && (await inPython(python, [model, device, String(batch), String(frames)]))),
  };
  return { ...rounded(row), ...gpu };
}

/**
 * onnxruntime keeps the plans of its convolutions for the last shape alone, by its source. So the server pads every batch to
 * one size (`GPU_BATCH`). Where both figures are alike, a version keeps more, and padding less would cost nothing.
 */
async function changing(selecting: string) {
  const bound = async (sizes: string) => {
    const args = [join(import.meta.dirname, 'bound.ts'), selecting, '2', '500', options.device, sizes];
    return JSON.parse((await run(process.execPath, args, { env })).stdout).fps;
  };
  return rounded({ 'always 25': await bound('25'), '25 and 24 in turn': await bound('25,24') });
}

async function inPython(python: string, args: string[]) {
  const { stdout } = await run(python, [script, 'run', ...args], { env });
  const { fps, fpsOnDevice } = JSON.parse(stdout);
  return { python: fps, 'on device': fpsOnDevice };
}

/** On all of the threads that decode. */
async function decoding() {
  const pictures = jpegs.map((jpeg) => ({ jpeg, header: readPictureHeader(jpeg, { maxPixels: 50e6 }) }));
  const [cpu, began] = [process.cpuUsage(), performance.now()];
  let count = 0;
  while (performance.now() - began < 3_000) {
    await Promise.all(pictures.map(({ jpeg, header }) => decodeRgb(jpeg, header)));
    count += pictures.length;
  }
  const { user, system } = process.cpuUsage(cpu);
  const row = { 'frames/s': (1000 * count) / (performance.now() - began) };
  return rounded({ ...row, 'CPU ms/frame': (user + system) / 1000 / count });
}

/**
 * Seconds a frame by step over the time a frame took say what bounds it: `picture` near the number of decoding threads,
 * decoding; `inference` near the two threads that call the GPU, the GPU and its copies.
 */
async function throughServer(model: string) {
  const args = ['model/src/main.ts', '--model', model, '--port', '0', '--device', options.device];
  const server = await start('model', args, {
    ...(env as Record<string, string>),
    MAX_QUEUED_FRAMES: '4096',
  });
  try {
    const { model: name } = (await (await fetch(new URL('/health', server.url))).json()) as { model: string };
    const url = new URL(`/v2/models/${name}/infer`, server.url);
    const target = { url, protocol: 'v2', pid: server.pid } as const;
    const load = { framesPerRequest: 25, concurrency: 8, frames: options.frames };
    const [sample, gpu] = await watched(() => measure(target, load, jpegs));
    const metrics = await (await fetch(new URL('/metrics', server.url))).text();
    const elapsed = load.frames / sample.framesPerSecond;
    const busy = (step: string) => {
      const [, seconds] = new RegExp(`inference_step_seconds_sum{step="${step}"} (.+)`).exec(metrics) ?? [];
      return Number(seconds) / elapsed;
    };
    const row = {
      'frames/s': sample.framesPerSecond,
      'CPU ms/frame': sample.cpuMsPerFrame,
      'p99 ms': quantile(sample.latencies, 0.99),
      'slowest ms': Math.max(...sample.latencies),
      'threads decoding': busy('picture'),
      'threads inferring': busy('inference'),
    };
    return { ...rounded(row), ...gpu };
  } finally {
    await server.stop();
  }
}

async function throughPeer(weights: string) {
  const peer = await servePeer(ULTRALYTICS, ['test/bench/peers/yolov8n.py', 'serve', weights], {
    PEER_DEVICE: options.device,
  });
  try {
    const target = { url: new URL('/predict', peer.url), protocol: 'predict', pid: peer.pid } as const;
    const load = { framesPerRequest: 25, concurrency: 4, frames: options.frames };
    const { framesPerSecond, cpuMsPerFrame } = await measure(target, load, jpegs);
    return rounded({ 'frames/s': framesPerSecond, 'CPU ms/frame': cpuMsPerFrame });
  } finally {
    await peer.stop();
  }
}

/** @returns what `work` gives, and the GPU's mean utilisation and most memory meanwhile */
async function watched<Result>(work: () => Promise<Result>): Promise<[Result, object]> {
  if (options.device !== 'cuda') return [await work(), {}];
  const query = ['--query-gpu=utilization.gpu,memory.used', '--format=csv,noheader,nounits', '-lms', '100'];
  const watcher = spawn('nvidia-smi', query, { stdio: ['ignore', 'pipe', 'inherit'] });
  const samples: [number, number][] = [];
  createInterface({ input: watcher.stdout }).on('line', (line) => {
    const [utilisation = Number.NaN, memory = Number.NaN] = line.split(',').map(Number);
    samples.push([utilisation, memory]);
  });
  try {
    const result = await work();
    const mean = samples.reduce((sum, [utilisation]) => sum + utilisation, 0) / samples.length;
    const most = Math.max(...samples.map(([, memory]) => memory));
    return [result, { 'GPU %': Math.round(mean), 'GPU MiB': most }];
  } finally {
    watcher.kill();
  }
}

/** Where Python's packages `nvidia-*` lie, one folder a line. */
const NVIDIA =
  "import importlib.util as u; print(*getattr(u.find_spec('nvidia'), 'submodule_search_locations', []))";

/** Node's CUDA provider, as the image of model/Dockerfile.cuda has it, and the CUDA libraries of Python's packages. */
async function cudaEnvironment(): Promise<NodeJS.ProcessEnv> {
  await installCudaProvider(console.error);
  const { stdout } = await run(python ?? 'python3', ['-c', NVIDIA]).catch(() => ({ stdout: '' }));
  const folders = stdout.trim().split(' ').filter(Boolean);
  // `cu13/lib` holds most of CUDA 13; cuDNN has a folder of its own.
  const libraries = await Promise.all(
    folders.map(async (folder) => (await readdir(folder)).map((name) => join(folder, name, 'lib'))),
  );
  const path = [...libraries.flat(), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { ...process.env, LD_LIBRARY_PATH: path };
}

function rounded<Row extends Record<string, number>>(row: Row): Record<string, number> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Math.round(value * 10) / 10]));
}
