import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { Command, Option } from 'commander';
import type { Workload } from './batches.ts';
import { type Capacity, capacityOf } from './capacity.ts';
import { totalUsd } from './costs.ts';
import { MEASURED, oneMachineCameras } from './one-machine.ts';
import { ALL_SAVINGS, SAVINGS, type Saving } from './savings.ts';
import { GPU_FPS } from './scaling.ts';

/** Names every saving. */
const ALL = 'all';
const NAMES = [...ALL_SAVINGS, ALL];
const positive = numberThat((value) => value > 0 && value <= 1e6, 'a number above 0, a million at most.');

const {
  json,
  savings: names = [],
  ...rest
} = new Command('npm run capacity --')
  .description('Print what a number of cameras needs on AWS, what that costs a month, and what breaks first.')
  .option('--cameras <n>', 'cameras', positive, 100)
  .option('--fps <n>', 'frames a second of each', positive, 10)
  .option('--gpu-fps <n>', 'frames a second of one GPU pod', positive, GPU_FPS)
  .addOption(
    new Option('--store <form>', 'how annotated frames are stored')
      .choices(['frames', 'archive', 'video', 'events'])
      .default('frames'),
  )
  .option('--kept <share>', 'share of pictures that `--store events` keeps (assumed: 0.1)', positive)
  .option('--once', 'with PICTURES=once: pictures travel over Kafka once', false)
  .addOption(new Option('--savings <name...>', 'savings to apply, see docs/capacity.md').choices(NAMES))
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<Omit<Workload, 'savings'> & { json: boolean; savings?: (Saving | typeof ALL)[] }>();
const savings = names.flatMap((name) => (name === ALL ? ALL_SAVINGS : [name]));
const workload: Workload = { ...rest, savings: [...new Set(savings)] };
const capacity = capacityOf(workload);
console.log(json ? JSON.stringify(capacity) : report(capacity));

function report(result: Capacity): string {
  const { workload, detect, annotate, workers, kafka, limits } = result;
  const total = totalUsd(result.usdPerMonth);
  const stage = ({ seconds, concurrency, reserved }: Capacity['detect']) =>
    `${seconds.toFixed(2)} s a batch, ${concurrency.toFixed(1)} at a time, reserve ${reserved}`;
  const rows: [string, string][] = [
    ['frames', `${result.framesPerSecond} a second, in batches of ${result.batch.toFixed(0)}`],
    ['partitions', `${result.partitions} of each topic`],
    ...(workers
      ? [['workers', `${workers} tasks of each stage`] as [string, string]]
      : [
          ['pollers', `${detect.pollers} of each mapping`] as [string, string],
          ['detect', stage(detect)] as [string, string],
          ...(annotate ? [['annotate', stage(annotate)] as [string, string]] : []),
        ]),
    ['GPU pods', `${result.gpuPods} at ${workload.gpuFps} frames/s each (derived from vCPUs and kernels)`],
    ['ingest tasks', `${result.ingestTasks} of 2 vCPU`],
    [
      'MSK',
      `${kafka.brokers} x ${kafka.kind === 'express' ? 'express' : 'kafka'}.m7g.${kafka.size}, ${kafka.ingressMb.toFixed(1)} MB/s in`,
    ],
    ['S3', `${result.s3PutsPerSecond.toFixed(0)} PUT/s`],
    ['latency', `${result.latencySeconds.toFixed(1)} s from capture to stored object, mean`],
    ['month', `${total.toFixed(0)} US dollars, ${(total / workload.cameras).toFixed(1)} a camera`],
    ...result.usdPerMonth.map(({ item, usd }): [string, string] => [`  ${item}`, usd.toFixed(0)]),
  ];
  const lines = rows.map(([name, value]) => `${name.padEnd(24)}${value}`);
  const breaks = limits.map(({ what, need, limit }) => `  ${what}: ${need} needed, ${limit} there`);
  const cameras = oneMachineCameras(MEASURED.cores, workload.fps);
  return [
    `${workload.cameras} cameras at ${workload.fps} frames/s, STORE=${workload.store}, PICTURES=${workload.once ? 'once' : 'twice'}`,
    ...lines,
    'what breaks first, the nearest limit on top:',
    ...breaks,
    ...savingsOf(workload),
    `one machine of ${MEASURED.machine}, without a GPU, carries ${cameras} such cameras`,
  ].join('\n');
}

/** Costs of a camera with each further option added, one after another. */
function savingsOf(workload: Workload): string[] {
  const { savings = [], cameras } = workload;
  const others = ALL_SAVINGS.filter((name) => !savings.includes(name));
  const lines = others.map((name, index) => {
    const { usdPerMonth } = capacityOf({ ...workload, savings: [...savings, ...others.slice(0, index + 1)] });
    return `  ${(totalUsd(usdPerMonth) / cameras).toFixed(1).padStart(7)}  ${SAVINGS[name].does.replaceAll('`', '')}`;
  });
  return lines.length > 0 ? ['dollars a camera and month, with one more saving in each line:', ...lines] : [];
}
