import { Command, InvalidArgumentError, Option } from 'commander';
import { type Capacity, capacityOf, MEASURED, oneMachineCameras, type Workload } from './capacity.ts';
import { GPU_FPS } from './scaling.ts';

const { json, ...workload } = new Command('npm run capacity --')
  .description('What so many cameras need on AWS, what it costs, and what breaks first.')
  .option('--cameras <n>', 'cameras', positive, 100)
  .option('--fps <n>', 'frames a second of each', positive, 10)
  .option('--gpu-fps <n>', 'frames a second of one GPU pod', positive, GPU_FPS)
  .addOption(
    new Option('--store <form>', 'how annotated frames are stored')
      .choices(['frames', 'archive'])
      .default('frames'),
  )
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<Workload & { json: boolean }>();
const capacity = capacityOf(workload);
console.log(json ? JSON.stringify(capacity) : report(capacity));

/** @throws InvalidArgumentError */
function positive(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1e6) return value;
  throw new InvalidArgumentError('must be a number from 0 to a million.');
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
