import { parseArgs } from 'node:util';
import { type Capacity, capacityOf, MEASURED, oneMachineCameras } from './capacity.ts';
import { GPU_FPS } from './scaling.ts';

/** Prints what so many cameras need: `npm run capacity -- --cameras 1000 --fps 10 [--gpu-fps 519] [--store archive] [--json]`. */
const { values } = parseArgs({
  options: {
    cameras: { type: 'string', default: '100' },
    fps: { type: 'string', default: '10' },
    'gpu-fps': { type: 'string', default: String(GPU_FPS) },
    store: { type: 'string', default: 'frames' },
    json: { type: 'boolean', default: false },
  },
});
const capacity = capacityOf({
  cameras: positive('cameras', values.cameras),
  fps: positive('fps', values.fps),
  gpuFps: positive('gpu-fps', values['gpu-fps']),
  store: storeOf(values.store),
});
console.log(values.json ? JSON.stringify(capacity) : report(capacity));

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1e6) return value;
  process.stderr.write(`--${name} must be a number from 0 to a million\n`);
  process.exit(1);
}

function storeOf(text: string): 'frames' | 'archive' {
  if (text === 'frames' || text === 'archive') return text;
  process.stderr.write('--store must be frames or archive\n');
  process.exit(1);
}

function report(result: Capacity): string {
  const { workload, detect, annotate, kafka, limits } = result;
  const total = result.usdPerMonth.reduce((sum, { usd }) => sum + usd, 0);
  const stage = ({ seconds, concurrency, reserved }: Capacity['detect']) =>
    `${seconds.toFixed(2)} s a batch, ${concurrency.toFixed(1)} at a time, reserve ${reserved}`;
  const rows: [string, string][] = [
    ['frames', `${result.framesPerSecond} a second, in batches of ${result.batch.toFixed(0)}`],
    ['partitions', `${result.partitions} of each topic`],
    ['pollers', `${detect.pollers} of each mapping`],
    ['detect', stage(detect)],
    ['annotate', stage(annotate)],
    ['GPU pods', `${result.gpuPods} at ${workload.gpuFps} frames/s each (derived from vCPUs and kernels)`],
    ['ingest tasks', `${result.ingestTasks} of 2 vCPU`],
    ['MSK', `${kafka.brokers} x express.m7g.${kafka.size}, ${kafka.ingressMb.toFixed(1)} MB/s in`],
    ['S3', `${result.s3PutsPerSecond.toFixed(0)} PUT/s`],
    ['latency', `${result.latencySeconds.toFixed(1)} s from capture to stored object, mean`],
    ['month', `${total.toFixed(0)} US dollars`],
    ...result.usdPerMonth.map(({ item, usd }): [string, string] => [`  ${item}`, usd.toFixed(0)]),
  ];
  const lines = rows.map(([name, value]) => `${name.padEnd(22)}${value}`);
  const breaks = limits.map(({ what, need, limit }) => `  ${what}: ${need} needed, ${limit} there`);
  const cameras = oneMachineCameras(MEASURED.cores, workload.fps);
  return [
    `${workload.cameras} cameras at ${workload.fps} frames/s, STORE=${workload.store}`,
    ...lines,
    'what breaks first, the nearest on top:',
    ...breaks,
    `one machine of ${MEASURED.machine}, without a GPU, carries ${cameras} such cameras`,
  ].join('\n');
}
