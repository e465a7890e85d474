// The inference server against bare onnxruntime, in turn, in one run.
//   npm run bench:model -- [--model file.onnx] [--rounds n] [--threads n] [--url http://server:8000]
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { encodeRequest } from '../../packages/detector/src/open-inference.ts';
import { jpegs720p } from './footage.ts';
import { type Measured, meterCpu, quantile, start } from './processes.ts';
import { buildYolov8n } from './yolov8n.ts';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    url: { type: 'string' },
  },
});
/** Frames sent for one measurement; a multiple of 25. */
const FRAMES = 100;
const CASES = [
  { framesPerRequest: 25, concurrency: 1 },
  { framesPerRequest: 25, concurrency: 2 },
  { framesPerRequest: 25, concurrency: 8 },
  { framesPerRequest: 1, concurrency: 1 },
  { framesPerRequest: 1, concurrency: 8 },
];

interface Sample {
  framesPerSecond: number;
  cpuMsPerFrame: number;
  latencies: number[];
}

interface Bound {
  fps: number;
  cpuMs: number;
}

const run = promisify(execFile);
const jpegs = await jpegs720p(25);
const path = options.model ?? (await benchModel());
const server = options.url
  ? undefined
  : await start('model', ['model/src/main.ts', '--model', path, '--port', '0', '--threads', options.threads]);
try {
  await report(server?.url ?? options.url ?? '', server);
} finally {
  await server?.stop();
}

async function benchModel(): Promise<string> {
  const folder = join(cacheDir(), 'bench');
  await mkdir(folder, { recursive: true });
  const file = join(folder, 'yolov8n-random.onnx');
  await buildYolov8n(file);
  return file;
}

async function report(url: string, process: Measured | undefined): Promise<void> {
  const model = (await (await fetch(new URL('/health', url))).json()) as { model: string; device: string };
  const infer = new URL(`/v2/models/${model.model}/infer`, url);
  const bounds: Bound[] = [];
  const samples = CASES.map((): Sample[] => []);
  for (let round = 0; round < Number(options.rounds); round++) {
    if (process) bounds.push(await bound());
    for (const [index, one] of CASES.entries()) samples[index]?.push(await load(infer, one, process));
  }
  const limit = {
    fps: quantile(
      bounds.map(({ fps }) => fps),
      0.5,
    ),
    cpuMs: quantile(
      bounds.map(({ cpuMs }) => cpuMs),
      0.5,
    ),
  };
  console.log(`${model.model} on ${model.device}, 1280x720 JPEGs, medians of ${options.rounds} rounds`);
  if (process)
    console.log(
      `bare onnxruntime, ready-made tensors: ${limit.fps.toFixed(1)} frames/s, ${limit.cpuMs.toFixed(1)} CPU ms`,
    );
  console.table(CASES.map((one, index) => ({ ...one, ...summary(samples[index] ?? [], limit) })));
}

function summary(samples: Sample[], limit: Bound) {
  const rate = quantile(
    samples.map((sample) => sample.framesPerSecond),
    0.5,
  );
  const latencies = samples.flatMap((sample) => sample.latencies);
  return {
    'frames/s': rate.toFixed(1),
    'of bare': limit.fps ? `${((100 * rate) / limit.fps).toFixed(0)} %` : '',
    'CPU ms/frame': quantile(
      samples.map((sample) => sample.cpuMsPerFrame),
      0.5,
    ).toFixed(1),
    'p50 ms': quantile(latencies, 0.5).toFixed(0),
    'p99 ms': quantile(latencies, 0.99).toFixed(0),
  };
}

/** The model alone: one session on all threads, or as many sessions of one thread, whichever does more frames. */
async function bound(): Promise<Bound> {
  const threads = Number(options.threads);
  const measure = async (sessionThreads: number): Promise<Bound> => {
    const args = ['test/bench/bound.ts', path, String(sessionThreads), '40'];
    return JSON.parse((await run(globalThis.process.execPath, args)).stdout);
  };
  const together = await measure(threads);
  const apart = await Promise.all(Array.from({ length: threads }, () => measure(1)));
  const fps = apart.reduce((sum, one) => sum + one.fps, 0);
  return together.fps > fps ? together : { fps, cpuMs: apart[0]?.cpuMs ?? Number.NaN };
}

/** Keeps `concurrency` requests under way until FRAMES frames are answered. */
async function load(url: URL, { framesPerRequest, concurrency }: (typeof CASES)[number], process?: Measured) {
  const requests = FRAMES / framesPerRequest;
  const latencies: number[] = [];
  let sent = 0;
  const client = async () => {
    while (sent < requests) {
      const first = (sent++ * framesPerRequest) % jpegs.length;
      const began = performance.now();
      await post(url, jpegs.slice(first, first + framesPerRequest));
      latencies.push(performance.now() - began);
    }
  };
  const meter = meterCpu(process ? [process] : []);
  const began = performance.now();
  await Promise.all(Array.from({ length: concurrency }, client));
  return {
    framesPerSecond: (1000 * FRAMES) / (performance.now() - began),
    cpuMsPerFrame: (meter.stop().model ?? Number.NaN) / FRAMES,
    latencies,
  };
}

async function post(url: URL, pictures: Buffer[]): Promise<void> {
  const frames = pictures.map((jpeg, frameNumber) => ({
    ...{ streamId: 'bench', frameNumber, session: 'bench', capturedAt: 0, width: 1280, height: 720 },
    jpeg,
  }));
  const { headerLength, body } = encodeRequest(frames, 0.25);
  const headers = {
    'content-type': 'application/octet-stream',
    'inference-header-content-length': String(headerLength),
  };
  const response = await fetch(url, { method: 'POST', headers, body: new Uint8Array(body) });
  const answer = (await response.json()) as { outputs?: { data: string[] }[]; error?: string };
  if (answer.outputs?.[0]?.data.length !== pictures.length) throw new Error(`no answer: ${answer.error}`);
}
