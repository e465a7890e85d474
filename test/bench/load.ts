// How many cameras the local stack carries: one more at each step, until frames are dropped or the lag grows.
// With --soak as many cameras for as long as it takes, memory and lag at its start and end.
//   npm run bench:load -- --help
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheDir } from '@video-pipeline/assets';
import { MEASURED, oneMachineCameras, oneMachineFps } from '../../infra/one-machine.ts';
import { usageOf } from '../../packages/local/src/screen/usage.ts';
import type { State } from '../../packages/local/src/session.ts';
import { startStackProcess } from '../e2e/stack-process.ts';
import { climb } from './climb.ts';
import { footage720p } from './footage.ts';
import { frameRate, npmScript, positiveInteger, positiveNumber } from './options.ts';
import { held, mean } from './processes.ts';
import { rounded, saveMeasured } from './save.ts';
import { buildYolov8n } from './yolov8n.ts';

interface Options {
  fps: number;
  cameras: number;
  seconds: number;
  soak?: number;
  maxLatency: number;
  save?: number;
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
  .option('--max-latency <seconds>', 'thin the streams to it, as npm start does; 0: not', Number, 0)
  .option(
    '--save <fps>',
    'keep the steps in docs/measured; with what `npm run bench` says of this day, frames a second from Kafka',
    positiveNumber,
  )
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
/** Between two looks at the processes. */
const LOOK_MS = 15_000;

interface Step {
  cameras: number;
  seconds: number;
  /** Frames a second: asked for, read from the cameras, and stored. */
  asked: number;
  captured: number;
  stored: number;
  dropped: number;
  thinned: number;
  /** From capture to the stored object, since the stack was started, milliseconds. */
  p95: number;
  /** Records that wait, at the start and the end of the step. */
  lag: [number, number];
  /** Resident MiB by process, and open file descriptors of all, at the start and the end of the step. */
  memory: Record<string, [number, number]>;
  handles: [number, number];
  /** Share of all cores, by process. */
  cpu: Record<string, number>;
}

const model = join(cacheDir(), 'bench', 'yolov8n-random.onnx');
if (!existsSync(model)) await buildYolov8n(model);
const clip = await footage720p();
const first = options.cameras;
const steps = options.soak
  ? [await measure(first, options.soak * 60)]
  : await climb(first, { measure: (cameras) => measure(cameras, options.seconds), holds: keepsUp, line });
const knee = steps.filter(keepsUp).at(-1);
const predicted = FPS * oneMachineCameras(CORES, FPS);
console.log(options.json ? JSON.stringify({ steps, knee: knee?.asked ?? null, predicted }) : report());
if (options.save) {
  const measured = steps.map(({ cameras, stored }) => ({ cameras, fps: FPS, storedFps: rounded(stored) }));
  saveMeasured('load', { fromKafkaFps: options.save, steps: measured });
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
  const stack = startStackProcess(dataDir, args, { MAX_LATENCY_SECONDS: String(options.maxLatency) });
  try {
    await stack.until((state) => frames(state).annotated > 0, 'a frame in the bucket', 120_000);
    await sleep(WARM_MS);
    const looks = await watch(stack.state, seconds);
    return stepOf(cameras, looks);
  } finally {
    stack.child.kill('SIGTERM');
    await stack.exited;
    await rm(dataDir, { recursive: true, force: true });
  }
}

type Look = Awaited<ReturnType<typeof look>>;

/** At the start, every {@link LOOK_MS} and at the end of so many seconds. */
async function watch(current: () => Promise<State | undefined>, seconds: number): Promise<Look[]> {
  const looks = [await look(current)];
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
    await sleep(Math.min(LOOK_MS, end - Date.now()));
    looks.push(await look(current));
    if (options.soak && (looks.length - 1) % 20 === 0)
      process.stderr.write(`${line(stepOf(first, looks))}\n`);
  }
  return looks;
}

async function look(current: () => Promise<State | undefined>) {
  const state = await current();
  if (!state) throw new Error('the stack does not say how it stands');
  const named = Object.entries(state.services).flatMap(([name, { pid }]) =>
    pid ? [[name, pid] as const] : [],
  );
  const processes = new Map<string, { cpuSeconds: number; residentMiB: number; handles: number }>();
  for (const [name, pid] of [['supervisor', state.pid] as const, ...named]) {
    const usage = await usageOf(pid);
    processes.set(name, { cpuSeconds: usage?.cpu_seconds ?? 0, ...held(pid) });
  }
  return { state, processes };
}

/** Memory, handles and lag are means over a tenth of the looks: a single one depends on where garbage collection stands. */
function stepOf(cameras: number, looks: readonly Look[]): Step {
  const [begin, end] = [looks[0], looks.at(-1)];
  if (!begin || !end) throw new Error('nothing was watched');
  const tenth = Math.ceil(looks.length / 10);
  const ends = (value: (look: Look) => number): [number, number] => [
    mean(looks.slice(0, tenth).map(value)),
    mean(looks.slice(-tenth).map(value)),
  ];
  const names = [...end.processes.keys()];
  const took = (end.state.updated_at - begin.state.updated_at) / 1000;
  const [before, after] = [frames(begin.state), frames(end.state)];
  const share = (name: string) => {
    const spent = (end.processes.get(name)?.cpuSeconds ?? 0) - (begin.processes.get(name)?.cpuSeconds ?? 0);
    return spent / took / CORES;
  };
  return {
    cameras,
    seconds: took,
    asked: cameras * FPS,
    captured: (after.captured - before.captured) / took,
    stored: (after.annotated - before.annotated) / took,
    dropped: after.dropped - before.dropped,
    thinned: after.thinned - before.thinned,
    p95: end.state.latency_ms.p95 ?? Number.NaN,
    lag: ends(({ state }) => waiting(state)),
    memory: Object.fromEntries(
      names.map((name) => [name, ends(({ processes }) => processes.get(name)?.residentMiB ?? 0)]),
    ),
    handles: ends(({ processes }) => sum([...processes.values()].map(({ handles }) => handles))),
    cpu: Object.fromEntries(names.map((name) => [name, share(name)])),
  };
}

function frames({ streams }: State) {
  const of = (field: 'captured' | 'annotated' | 'dropped' | 'thinned') =>
    sum(Object.values(streams).map((stream) => stream[field]));
  return {
    captured: of('captured'),
    annotated: of('annotated'),
    dropped: of('dropped'),
    thinned: of('thinned'),
  };
}

function waiting({ lag }: State): number {
  return lag ? sum(Object.values(lag)) : Number.NaN;
}

function line({ cameras, asked, captured, stored, dropped, thinned, p95, lag, memory, handles, cpu }: Step) {
  const busy = Object.entries(cpu)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([name, share]) => `${name} ${(100 * share).toFixed(0)} %`);
  const resident = [0, 1].map((end) => sum(Object.values(memory).map((one) => one[end] ?? 0)));
  const arrow = (values: readonly number[]) => values.map((value) => value.toFixed(0)).join(' -> ');
  return (
    `${cameras} cameras: ${asked} frames/s asked, ${captured.toFixed(1)} read, ${stored.toFixed(1)} stored, ${dropped} dropped, ${thinned} thinned, p95 ${(p95 / 1000).toFixed(1)} s; lag ${arrow(lag)}; ` +
    `memory ${arrow(resident)} MiB; handles ${arrow(handles)}; processor ${busy.join(', ')}`
  );
}

function report(): string {
  const last = steps.at(-1);
  const stored = oneMachineFps(CORES, { cameras: last?.cameras ?? 0, fps: FPS });
  const used = sum(Object.values(last?.cpu ?? {}));
  return [
    `machine    ${CORES} x ${cpus()[0]?.model.trim()}, node ${process.version}; each camera ${FPS} frames/s of 720p, YOLOv8n`,
    ...steps.map(line),
    ...(options.soak ? Object.entries(last?.memory ?? {}).map(byProcess) : []),
    `knee       ${knee ? `${knee.asked} frames/s (${knee.cameras} cameras)` : 'below the first step'}`,
    `saturated  at the last step the pipeline uses ${(100 * used).toFixed(0)} % of all cores`,
    `predicted  ${predicted} frames/s, and ${stored.toFixed(1)} stored at the last step, on ${CORES} cores like those of ${MEASURED.machine}`,
  ].join('\n');
}

function byProcess([name, [begin, end]]: [string, [number, number]]): string {
  return `  ${name.padEnd(16)} ${begin.toFixed(0)} -> ${end.toFixed(0)} MiB`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
