// What the model server still does for whom it serves when more is asked than it can do.
//   npm run bench:overload -- --help
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { jpegs720p } from './footage.ts';
import { type Load, measure, type Target } from './model-load.ts';
import { npmScript, positiveInteger, positiveNumber } from './options.ts';
import { quantile, start } from './processes.ts';

const options = npmScript(
  'bench:overload',
  'Goodput, p99 and the answer to probes of the model server at 1, 2, 4 and 8 times the load that it can do.',
)
  .option('--model <file.onnx>', 'the model; NanoDet-g without it')
  .option('--base <n>', 'connections that it can do: requests of 25 frames under way', positiveInteger, 16)
  .option('--seconds <n>', 'how long each load lasts', positiveNumber, 20)
  .parse()
  .opts<{ model?: string; base: number; seconds: number }>();
const TIMES = [1, 2, 4, 8];
const FRAMES = 25;

const model = options.model ? ['--model', options.model] : [];
const server = await start('model', ['model/src/main.ts', '--port', '0', '--device', 'cpu', ...model]);
try {
  const health = await fetch(new URL('/health', server.url));
  const { model: name } = (await health.json()) as { model: string };
  const url = new URL(`/v2/models/${name}/infer`, server.url);
  const target: Target = { url, protocol: 'v2', pid: server.pid };
  const jpegs = await jpegs720p(FRAMES);
  const rate = (
    await measure(target, { framesPerRequest: FRAMES, concurrency: 2, frames: 8 * FRAMES }, jpegs)
  ).framesPerSecond;
  const rows = [];
  for (const times of TIMES) rows.push(await overload(target, times, rate, jpegs));
  console.table(rows);
} finally {
  await server.stop();
}

async function overload(target: Target, times: number, rate: number, jpegs: Buffer[]) {
  const concurrency = options.base * times;
  const load: Load = { framesPerRequest: FRAMES, concurrency, frames: Number.POSITIVE_INFINITY };
  const probing = probe(1000 * options.seconds);
  const sample = await measure(target, load, jpegs, performance.now() + 1000 * options.seconds);
  const probes = await probing;
  return {
    'times the load': times,
    connections: concurrency,
    'frames/s': sample.framesPerSecond.toFixed(1),
    'of what it does alone': `${((100 * sample.framesPerSecond) / rate).toFixed(0)} %`,
    refused: sample.refused,
    'p50 s': (quantile(sample.latencies, 0.5) / 1000).toFixed(2),
    'p99 s': (quantile(sample.latencies, 0.99) / 1000).toFixed(2),
    'slowest /health ms': Math.max(...probes).toFixed(0),
  };
}

async function probe(ms: number): Promise<number[]> {
  const workerData = { url: new URL('/health', server.url).href, ms };
  const [took] = await once(
    new Worker(new URL('../support/probe.ts', import.meta.url), { workerData }),
    'message',
  );
  return took;
}
