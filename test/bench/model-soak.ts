// Whether the memory of the model server stays flat, and whether it answers in bounded time under overload.
//   npm run bench:model-soak -- --help
import { jpegs720p } from './footage.ts';
import { type Load, measure, type Target } from './model-load.ts';
import { npmScript, positiveInteger } from './options.ts';
import { held, quantile, start } from './processes.ts';

const options = npmScript(
  'bench:model-soak',
  'Memory of the model server over many frames, and its answers under overload.',
)
  .option('--frames <n>', 'frames sent, rounded down to thousands', positiveInteger, 20_000)
  .option('--model <file.onnx>', 'the model; NanoDet-g without it')
  .parse()
  .opts<{ frames: number; model?: string }>();
/** Frames between two readings of the memory. */
const STEP = 1000;
const STEADY: Load = { framesPerRequest: 25, concurrency: 4, frames: STEP };
/** More at once than the queue below has room for. */
const OVERLOAD: Load = { framesPerRequest: 25, concurrency: 40, frames: 5 * STEP };
const MAX_QUEUED_FRAMES = 250;

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
  const readings: { frames: number; memory: string }[] = [];
  for (let frames = STEP; frames <= options.frames; frames += STEP) {
    const { framesPerSecond } = await measure(target, STEADY, jpegs);
    const memory = `${residentMiB()} MiB resident`;
    readings.push({ frames, memory });
    process.stderr.write(`${frames} frames: ${memory}, ${framesPerSecond.toFixed(1)} frames/s\n`);
  }
  for (const { frames, memory } of [readings[0], readings.at(-1)].filter((one) => one !== undefined)) {
    console.log(`after ${frames} frames: ${memory}`);
  }
  const { latencies, refused, framesPerSecond } = await measure(target, OVERLOAD, jpegs);
  // What is before a request in the queue, and its own frames, at the rate they are worked off.
  const bound = (MAX_QUEUED_FRAMES + 2 * STEADY.framesPerRequest) / framesPerSecond;
  console.log(
    `${OVERLOAD.concurrency} x 25 frames at once, ${MAX_QUEUED_FRAMES} may wait: ${latencies.length} answered, ` +
      `${refused} refused (429), p50 ${seconds(latencies, 0.5)} s, p99 ${seconds(latencies, 0.99)} s, ` +
      `queue over rate ${bound.toFixed(2)} s; ${residentMiB()} MiB resident`,
  );
} finally {
  await server.stop();
}

function residentMiB(): string {
  return held(server.pid).residentMiB.toFixed(0);
}

function seconds(latencies: number[], share: number): string {
  return (quantile(latencies, share) / 1000).toFixed(2);
}
