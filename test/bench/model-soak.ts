// Whether the memory of the model server stays flat, and whether it answers in bounded time under overload. If not, it
// ends with 1.
//   npm run bench:model-soak -- --help
import { setTimeout as sleep } from 'node:timers/promises';
import { jpegs720p } from './footage.ts';
import { type Load, measure, type Target } from './model-load.ts';
import { npmScript, positiveInteger } from './options.ts';
import { held, quantile, start, staysFlat, thirds } from './processes.ts';

const options = npmScript(
  'bench:model-soak',
  'Memory of the model server over many frames, and its answers under overload.',
)
  .option('--frames <n>', 'frames that are answered, at least', positiveInteger, 20_000)
  .option('--model <file.onnx>', 'the model; NanoDet-g without it')
  .parse()
  .opts<{ frames: number; model?: string }>();
/** Frames between two readings of the memory. */
const STEP = 1000;
/** Wait after requests were refused, milliseconds. */
const REFUSED_MS = 2_000;
const STEADY: Load = { framesPerRequest: 25, concurrency: 4, frames: STEP };
/** More at once than the queue below has room for. */
const OVERLOAD: Load = { framesPerRequest: 25, concurrency: 40, frames: 5 * STEP };
const MAX_QUEUED_FRAMES = 250;
/** All requests arrive at once: while they are received, fewer frames are worked off than on average. */
const MARGIN = 1.25;

const model = options.model ? ['--model', options.model] : [];
const server = await start('model', ['model/src/main.ts', '--port', '0', ...model], {
  MAX_QUEUED_FRAMES: String(MAX_QUEUED_FRAMES),
  // As its images set it.
  MALLOC_ARENA_MAX: '2',
});
try {
  const health = await fetch(new URL('/health', server.url));
  const { model: name } = (await health.json()) as { model: string };
  const target: Target = {
    url: new URL(`/v2/models/${name}/infer`, server.url),
    protocol: 'v2',
    pid: server.pid,
  };
  const jpegs = await jpegs720p(25);
  const readings: number[] = [];
  let frames = 0;
  while (frames < options.frames) {
    const { latencies, refused, framesPerSecond } = await measure(target, STEADY, jpegs);
    frames += latencies.length * STEADY.framesPerRequest;
    readings.push(residentMiB());
    process.stderr.write(
      `${frames} frames: ${readings.at(-1)} MiB resident, ${framesPerSecond.toFixed(1)} frames/s\n`,
    );
    // The machine is too busy: what the server refuses does not count.
    if (refused > 0) await sleep(REFUSED_MS);
  }
  const memory = thirds(readings);
  const isFlat = staysFlat(memory);
  console.log(`first and last third: ${memory.join(' and ')} MiB resident: ${isFlat ? 'flat' : 'it grows'}`);
  const { latencies, refused, framesPerSecond } = await measure(target, OVERLOAD, jpegs);
  // What is before a request in the queue, and its own frames, at the rate they are worked off.
  const bound = (MAX_QUEUED_FRAMES + 2 * STEADY.framesPerRequest) / framesPerSecond;
  console.log(
    `${OVERLOAD.concurrency} x 25 frames at once, ${MAX_QUEUED_FRAMES} may wait: ${latencies.length} answered, ` +
      `${refused} refused (429), p50 ${seconds(latencies, 0.5)} s, p99 ${seconds(latencies, 0.99)} s, ` +
      `queue over rate ${bound.toFixed(2)} s; ${residentMiB()} MiB resident`,
  );
  const isBounded = quantile(latencies, 0.99) <= 1000 * MARGIN * bound;
  process.exitCode = isFlat && isBounded && refused > 0 ? 0 : 1;
} finally {
  await server.stop();
}

function residentMiB(): number {
  return Math.round(held(server.pid).residentMiB);
}

function seconds(latencies: number[], share: number): string {
  return (quantile(latencies, share) / 1000).toFixed(2);
}
