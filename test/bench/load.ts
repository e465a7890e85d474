// How many cameras the local stack carries: one more at each step, until frames are dropped or the lag grows.
// With --soak as many cameras for as long as it takes, memory and lag at its begin and end.
//   npm run bench:load -- --help
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheDir } from '@video-pipeline/assets';
import { MEASURED, oneMachineCameras, oneMachineFps } from '../../infra/capacity.ts';
import type { State } from '../../packages/local/src/session.ts';
import { usageOf } from '../../packages/local/src/usage.ts';
import { startStackProcess } from '../e2e/stack-process.ts';
import { footage720p } from './footage.ts';
import { frameRate, npmScript, positiveInteger, positiveNumber } from './options.ts';
import { buildYolov8n } from './yolov8n.ts';

interface Options {
  fps: number;
  cameras: number;
  seconds: number;
  soak?: number;
  json: boolean;
}

const options = npmScript(
  'bench:load',
  'How many cameras the local stack carries: one more at each step, until it falls behind.',
)
  .option('--fps <rate>', 'frames a second of each camera', frameRate, 5)
  .option('--cameras <n>', 'cameras of the first step', positiveInteger, 1)
  .option('--seconds <n>', 'how long a step is watched', positiveNumber, 60)
  .option('--soak <minutes>', 'one step of so long instead', positiveNumber)
  .option('--json', 'print JSON', false)
  .parse()
  .opts<Options>();
const FPS = options.fps;
const CORES = cpus().length;
/** The lag may grow by this share of what was asked, or by a batch of each camera: some wait in batches that fill. */
const MAX_GROWTH = 0.1;
const BATCH = Math.min(25, FPS * 5);
/** Until every process has warmed up and the first batches are through. */
const WARM_MS = 10_000;
const MAX_CAMERAS = 1_000;

interface Step {
  cameras: number;
  seconds: number;
  /** Frames a second: asked for, read from the cameras, and stored. */
  asked: number;
  captured: number;
  stored: number;
  dropped: number;
  /** Records that wait, at the begin and the end of the step. */
  lag: [number, number];
  /** Megabytes of all processes that were there at the begin, then and at the end: largest resident sets so far. */
  rssMb: [number, number];
  /** Share of all cores, by process. */
  cpu: Record<string, number>;
}

const model = join(cacheDir(), 'bench', 'yolov8n-random.onnx');
if (!existsSync(model)) await buildYolov8n(model);
const clip = await footage720p();
const first = options.cameras;
const steps = options.soak ? [await measure(first, options.soak * 60)] : await climb();
const knee = steps.filter(keepsUp).at(-1);
const predicted = FPS * oneMachineCameras(CORES, FPS);
console.log(options.json ? JSON.stringify({ steps, knee: knee?.asked ?? null, predicted }) : report());

async function climb(): Promise<Step[]> {
  const steps: Step[] = [];
  for (let cameras = first; cameras <= MAX_CAMERAS; cameras++) {
    const step = await measure(cameras, options.seconds);
    steps.push(step);
    process.stderr.write(`${line(step)}\n`);
    if (!keepsUp(step)) break;
  }
  return steps;
}

function keepsUp({ cameras, seconds, asked, captured, dropped, lag: [begin, end] }: Step): boolean {
  const isRead = captured >= (1 - MAX_GROWTH) * asked;
  return isRead && dropped === 0 && end - begin <= Math.max(MAX_GROWTH * asked * seconds, BATCH * cameras);
}

/** Runs the whole stack with so many cameras and looks at it for so long. */
async function measure(cameras: number, seconds: number): Promise<Step> {
  const dataDir = await mkdtemp(join(tmpdir(), 'bench-load-'));
  const sources = Array.from({ length: cameras }, (_, index) => ['--source', `camera-${index}=${clip}?loop`]);
  const args = ['--no-console', '--model', model, '--frame-rate', String(FPS), ...sources.flat()];
  const stack = startStackProcess(dataDir, args);
  try {
    await stack.until((state) => frames(state).annotated > 0, 'a frame in the bucket', 120_000);
    await sleep(WARM_MS);
    const begin = await look(stack.state);
    await sleep(seconds * 1000);
    const end = await look(stack.state);
    const took = (end.state.updated_at - begin.state.updated_at) / 1000;
    const [before, after] = [frames(begin.state), frames(end.state)];
    const spent = [...end.cpuSeconds].map(([name, total]) => [
      name,
      (total - (begin.cpuSeconds.get(name) ?? 0)) / took / CORES,
    ]);
    return {
      cameras,
      seconds: took,
      asked: cameras * FPS,
      captured: (after.captured - before.captured) / took,
      stored: (after.annotated - before.annotated) / took,
      dropped: after.dropped - before.dropped,
      lag: [waiting(begin.state), waiting(end.state)],
      rssMb: [begin.rssMb, end.rssMb],
      cpu: Object.fromEntries(spent),
    };
  } finally {
    stack.child.kill('SIGTERM');
    await stack.exited;
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function look(current: () => Promise<State | undefined>) {
  const state = await current();
  if (!state) throw new Error('the stack does not say how it stands');
  const named = Object.entries(state.services).flatMap(([name, { pid }]) =>
    pid ? [[name, pid] as const] : [],
  );
  const cpuSeconds = new Map<string, number>();
  let rssMb = 0;
  for (const [name, pid] of [['supervisor', state.pid] as const, ...named]) {
    const usage = await usageOf(pid);
    cpuSeconds.set(name, usage?.cpu_seconds ?? 0);
    rssMb += (usage?.peak_rss_bytes ?? 0) / 1e6;
  }
  return { state, cpuSeconds, rssMb };
}

function frames({ streams }: State): { captured: number; annotated: number; dropped: number } {
  const sum = (field: 'captured' | 'annotated' | 'dropped') =>
    Object.values(streams).reduce((total, stream) => total + stream[field], 0);
  return { captured: sum('captured'), annotated: sum('annotated'), dropped: sum('dropped') };
}

function waiting({ lag }: State): number {
  return lag ? lag.detect + lag.annotate : Number.NaN;
}

function line({ cameras, asked, captured, stored, dropped, lag, rssMb, cpu }: Step): string {
  const busy = Object.entries(cpu)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([name, share]) => `${name} ${(100 * share).toFixed(0)} %`);
  return (
    `${cameras} cameras: ${asked} frames/s asked, ${captured.toFixed(1)} read, ${stored.toFixed(1)} stored, ${dropped} dropped; lag ${lag.join(' -> ')}; ` +
    `memory ${rssMb.map((mb) => mb.toFixed(0)).join(' -> ')} MB; processor ${busy.join(', ')}`
  );
}

function report(): string {
  const last = steps.at(-1);
  const stored = oneMachineFps(CORES, { cameras: last?.cameras ?? 0, fps: FPS });
  const used = Object.values(last?.cpu ?? {}).reduce((sum, share) => sum + share, 0);
  return [
    `machine    ${CORES} x ${cpus()[0]?.model.trim()}, node ${process.version}; each camera ${FPS} frames/s of 720p, YOLOv8n`,
    ...steps.map(line),
    `knee       ${knee ? `${knee.asked} frames/s (${knee.cameras} cameras)` : 'below the first step'}`,
    `saturated  at the last step the pipeline uses ${(100 * used).toFixed(0)} % of all cores`,
    `predicted  ${predicted} frames/s, and ${stored.toFixed(1)} stored at the last step, on ${CORES} cores like those of ${MEASURED.machine}`,
  ].join('\n');
}
