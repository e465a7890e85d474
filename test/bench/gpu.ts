// What a GPU gives: YOLOv8n by batch size and precision through Node and through Python, and what bounds the server.
//   npm run bench:gpu -- --help
// Needs an NVIDIA driver for CUDA 12; installs onnxruntime's CUDA provider and libraries. `--device cpu` tries the script.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { Option } from 'commander';
import { jpegs720p } from './footage.ts';
import { measure } from './model-load.ts';
import { npmScript, positiveInteger } from './options.ts';
import { type PythonPeer, peerPython } from './peers/python.ts';
import { start } from './processes.ts';
import { buildYolov8n } from './yolov8n.ts';

const options = npmScript(
  'bench:gpu',
  'YOLOv8n on a GPU by batch size and precision, through Node and through Python.',
)
  .addOption(
    new Option('--device <device>', '`cpu` tries the script itself').choices(['cuda', 'cpu']).default('cuda'),
  )
  .option('--frames <n>', 'frames of one measurement', positiveInteger, 3000)
  .parse()
  .opts<{ device: 'cuda' | 'cpu'; frames: number }>();
const BATCHES = [1, 8, 25, 64];
/** Of the same version as onnxruntime-node, so that both run the same kernels. */
const PEERS: Record<typeof options.device, PythonPeer> = {
  cuda: {
    name: 'onnxruntime-gpu',
    packages: ['onnxruntime-gpu[cuda,cudnn]==1.30.0', 'onnx==1.23.2', 'sympy'],
  },
  cpu: { name: 'onnxruntime', packages: ['onnxruntime==1.30.0', 'onnx==1.23.2', 'sympy'] },
};
const run = promisify(execFile);
const script = join(import.meta.dirname, 'peers/onnxruntime_gpu.py');
const python = await peerPython(PEERS[options.device]);
const env = options.device === 'cuda' ? await cudaEnvironment() : process.env;
const folder = join(cacheDir(), 'bench');
const models = { fp32: join(folder, 'yolov8n-random.onnx'), fp16: join(folder, 'yolov8n-fp16.onnx') };
await buildYolov8n(models.fp32);
await run(python, [script, 'convert', models.fp32, models.fp16]);
for (const [precision, model] of Object.entries(models)) {
  console.log(`YOLOv8n ${precision} on ${options.device}, tensors [batch, 3, 384, 640], frames/s`);
  const rows = [];
  for (const batch of BATCHES) rows.push(await compare(model, batch));
  console.table(rows);
  console.table([await throughServer(model)]);
}

/** The session alone, in Node and in Python. Where both lag behind `on device`, copies to the GPU bound them. */
async function compare(model: string, batch: number) {
  const { device, frames } = options;
  const bound = [join(import.meta.dirname, 'bound.ts'), model, '2', String(frames), device, String(batch)];
  const [node, gpu] = await watched(() => run(process.execPath, bound, { env }));
  const inPython = await run(python, [script, 'run', model, device, String(batch), String(frames)], { env });
  const { fps, fpsOnDevice } = JSON.parse(inPython.stdout);
  const ours: { fps: number } = JSON.parse(node.stdout);
  const row = { batch, node: ours.fps, python: fps, 'on device': fpsOnDevice };
  return { ...rounded(row), ...gpu };
}

/**
 * JPEGs in, detections out. Seconds a frame by step over the time a frame took say what bounds it: `picture` near the
 * number of decoding threads, decoding; `inference` near the two threads that call the GPU, the GPU and its copies.
 */
async function throughServer(model: string) {
  const args = ['model/src/main.ts', '--model', model, '--port', '0', '--device', options.device];
  const decoding = { UV_THREADPOOL_SIZE: String(Math.max(4, availableParallelism())) };
  const server = await start('model', args, { ...(env as Record<string, string>), ...decoding });
  try {
    const { model: name } = (await (await fetch(new URL('/health', server.url))).json()) as { model: string };
    const target = {
      url: new URL(`/v2/models/${name}/infer`, server.url),
      protocol: 'v2',
      pid: server.pid,
    } as const;
    const load = { framesPerRequest: 25, concurrency: 8, frames: options.frames };
    const jpegs = await jpegs720p(25);
    const [sample, gpu] = await watched(() => measure(target, load, jpegs));
    const metrics = await (await fetch(new URL('/metrics', server.url))).text();
    const elapsed = load.frames / sample.framesPerSecond;
    const busy = (step: string) => {
      const [, seconds] = new RegExp(`inference_step_seconds_sum{step="${step}"} (.+)`).exec(metrics) ?? [];
      return Number(seconds) / elapsed;
    };
    const row = { 'server frames/s': sample.framesPerSecond, 'CPU ms/frame': sample.cpuMsPerFrame };
    const threads = { 'threads decoding': busy('picture'), 'threads inferring': busy('inference') };
    return { ...rounded({ ...row, ...threads }), ...gpu };
  } finally {
    await server.stop();
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

/** Node's CUDA provider, installed as model/Dockerfile.cuda does, and the CUDA libraries that Python's packages carry. */
async function cudaEnvironment(): Promise<NodeJS.ProcessEnv> {
  await run('nvidia-smi').catch((cause) => {
    throw new Error('there is no NVIDIA GPU here (nvidia-smi failed)', { cause });
  });
  const root = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')), '..');
  if (!existsSync(join(root, 'bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so'))) {
    const install = { env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'cuda12' } };
    await run(process.execPath, [join(root, 'script/install.js')], install);
  }
  const { stdout } = await run(python, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']);
  const nvidia = join(stdout.trim(), 'nvidia');
  const libraries = (await readdir(nvidia)).map((name) => join(nvidia, name, 'lib'));
  return { ...process.env, LD_LIBRARY_PATH: [...libraries, process.env.LD_LIBRARY_PATH].join(':') };
}

function rounded<Row extends Record<string, number>>(row: Row): Record<string, number> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Math.round(value * 10) / 10]));
}
