// What a large model costs to load: time and memory of our server until it is healthy, beside Python's onnxruntime until it has run once.
//   npm run bench:model-start -- --help
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir, compileCacheDir, defaultModelPath } from '@video-pipeline/assets';
import { buildNanodet } from '../../model/src/nanodet/build.ts';
import { addDetectionOutput } from '../../model/src/onnx/detection-output.ts';
import { GraphBuilder } from '../../model/src/onnx/graph-builder.ts';
import { npmScript } from './options.ts';
import { type PythonPeer, peerPython } from './peers/python.ts';
import { cpuMs } from './processes.ts';

const { sizes } = npmScript('bench:model-start', 'Time and memory of loading large models.')
  .option('--sizes <MB,...>', 'sizes of the models, made with random weights', '130,700')
  .parse()
  .opts<{ sizes: string }>();

const ONNXRUNTIME: PythonPeer = { name: 'onnxruntime', packages: ['onnxruntime==1.30.0'] };
const MB = 1_000_000;
/** Channels of the layers that make a model large: 9.4 MB each. */
const CHANNELS = 512;
/** Loads a model and runs it once, as our server does before it is healthy. */
const LOAD = `
import sys, time
began = time.time()
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
feed = session.get_inputs()[0]
session.run(None, {feed.name: numpy.zeros([one if isinstance(one, int) else size for one, size in zip(feed.shape, (1, 3, 384, 640))], "float32")})
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(time.time() - began, time.process_time(), peak)
`;

interface Cost {
  seconds: number;
  cpuSeconds: number;
  /** Most memory until the server is healthy, bytes. */
  peak: number;
  /** Time of the proof that the model detects, of the whole. */
  proofSeconds?: number;
}

const python = await peerPython(ONNXRUNTIME);
await buildNanodet(() => {});
const rows = [];
for (const size of ['', ...sizes.split(',')]) {
  const path = size ? await buildLarge(Number(size) * MB) : defaultModelPath();
  const bytes = (await stat(path)).size;
  const { stdout } = await promisify(execFile)(python, ['-c', LOAD, path]);
  const [seconds = 0, cpuSeconds = 0, peak = 0] = stdout.split(' ').map(Number);
  const theirs = { seconds, cpuSeconds, peak };
  const ours = await costOfServer(path);
  rows.push(row(bytes, 'Python', theirs, theirs), row(bytes, 'our server', ours, theirs));
}
console.table(rows);

function row(bytes: number, what: string, cost: Cost, theirs: Cost) {
  return {
    'file MB': Math.round(bytes / MB),
    what,
    s: cost.seconds.toFixed(1),
    'of Python': (cost.seconds / theirs.seconds).toFixed(1),
    'CPU s': cost.cpuSeconds.toFixed(1),
    'peak MB': Math.round(cost.peak / MB),
    'of the file': (cost.peak / bytes).toFixed(2),
    'proof s': cost.proofSeconds ?? '',
  };
}

/** Starts the model server as `npm start` does, until it is healthy. */
async function costOfServer(path: string): Promise<Cost> {
  const began = performance.now();
  const child = spawn(process.execPath, ['model/src/main.ts', '--model', path, '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: { NODE_COMPILE_CACHE: compileCacheDir(), MALLOC_ARENA_MAX: '2', ...process.env },
  });
  let output = '';
  child.stdout?.on('data', (text) => {
    output += text;
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) => reject(new Error(`the model server ended with ${code}`)));
  });
  const seconds = (performance.now() - began) / 1000;
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) * 1024;
  const cpuSeconds = (cpuMs(child.pid ?? 0) ?? Number.NaN) / 1000;
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('close', resolve));
  const proofSeconds = Number(/"proof_seconds":([\d.]+)/.exec(output)?.[1]);
  return { seconds, cpuSeconds, peak, proofSeconds };
}

/** Writes a detector of about `bytes`: YOLOv8's head after a row of 3 x 3 convolutions at a stride of 32. */
async function buildLarge(bytes: number): Promise<string> {
  const path = join(cacheDir(), 'bench', `large-${bytes / MB}.onnx`);
  if (existsSync(path)) return path;
  const g = new GraphBuilder();
  let state = 1;
  const conv = (from: string, inputs: number, outputs: number, side: number, stride = 1, bias = 0) => {
    const count = outputs * inputs * side * side;
    const scale = 2 / Math.sqrt(inputs * side * side);
    const weights = Float32Array.from({ length: count }, () => {
      state = (state * 48_271) % 2_147_483_647;
      return (state / 1_073_741_824 - 1) * scale;
    });
    const pad = Math.floor((side - 1) / 2);
    const shape = { kernel_shape: [side, side], strides: [stride, stride], pads: [pad, pad, pad, pad] };
    const biases = g.constant(new Float32Array(outputs).fill(bias));
    return g.node('Conv', [from, g.constant(weights, [outputs, inputs, side, side]), biases], shape);
  };
  let feature = g.input('images', 'float32', ['batch', 3, 'height', 'width']);
  feature = conv(feature, 3, 64, 8, 8);
  const levels = [{ boxes: conv(feature, 64, 64, 1), scores: conv(feature, 64, 80, 1, 1, -4.6), stride: 8 }];
  feature = conv(feature, 64, CHANNELS, 4, 4);
  const layers = Math.round(bytes / (CHANNELS * CHANNELS * 9 * 4));
  for (let layer = 0; layer < layers; layer++)
    feature = g.node('Tanh', [conv(feature, CHANNELS, CHANNELS, 3)]);
  levels.push({
    boxes: conv(feature, CHANNELS, 64, 1),
    scores: conv(feature, CHANNELS, 80, 1, 1, -4.6),
    stride: 32,
  });
  g.output('output0', addDetectionOutput(g, levels, 16), ['batch', 84, 'anchors']);
  const names = Array.from({ length: 80 }, (_, index) => `${index}: 'thing ${index}'`).join(', ');
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, g.encode('large', { task: 'detect', stride: '32', names: `{${names}}` }));
  return path;
}
