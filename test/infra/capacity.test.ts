import { describe, expect, test } from 'vitest';
import load from '../../docs/measured/load.json' with { type: 'json' };
import pictures from '../../docs/measured/pictures.json' with { type: 'json' };
import pipelineRun from '../../docs/measured/pipeline.json' with { type: 'json' };
import type { Workload } from '../../infra/batches.ts';
import { type Capacity, capacityOf } from '../../infra/capacity.ts';
import { totalUsd } from '../../infra/costs.ts';
import {
  fromKafkaFps,
  LIVE_SPEED,
  MEASURED,
  oneMachineCameras,
  oneMachineFps,
} from '../../infra/one-machine.ts';
import { ALL_SAVINGS, SAVINGS } from '../../infra/savings.ts';
import { GPU_FPS } from '../../infra/scaling.ts';
import { type Given, settingsOf } from '../../infra/settings.ts';
import { stageOf } from '../../infra/stages.ts';
import { expectGenerated } from '../support/generated.ts';

const work: Omit<Workload, 'cameras'> = { fps: 10, gpuFps: GPU_FPS, store: 'frames' };
const of = (cameras: number, more: Partial<typeof work> = {}) => capacityOf({ cameras, ...work, ...more });
const WITH_LAMBDA = ALL_SAVINGS.filter((name) => name !== 'workers');
const SIZES = [1, 100, 1_000, 10_000];
/** The cores of the live cameras' day, in those of the day that the model reckons with. */
const LIVE_CORES = MEASURED.cores * LIVE_SPEED;

test('the predicted frame rate of one machine is within 10 % of the benchmark', () => {
  expect(Math.abs(fromKafkaFps(MEASURED.cores) / MEASURED.fromKafkaFps - 1)).toBeLessThan(0.1);
});

test.each(MEASURED.live)(
  '$cameras live cameras at $fps fps: the predicted frame rate is within 10 % of the measured one',
  ({ cameras, fps, storedFps }) => {
    expect(Math.abs(oneMachineFps(LIVE_CORES, { cameras, fps }) / storedFps - 1)).toBeLessThan(0.1);
  },
);

test('one machine of the benchmark carries two cameras at 5 fps or one at 10 fps, as measured', () => {
  expect(oneMachineCameras(LIVE_CORES, 5)).toBe(2);
  expect(oneMachineCameras(LIVE_CORES, 10)).toBe(1);
  expect(oneMachineCameras(8 * LIVE_CORES, 10)).toBeGreaterThanOrEqual(8);
  expect(oneMachineCameras(LIVE_CORES, 100)).toBe(0);
});

describe.each(SIZES)('capacity for %i cameras', (cameras) => {
  const capacity = of(cameras);
  const { framesPerSecond, batch, detect, annotate, partitions } = capacity;

  test('Lambda, GPU pods, pollers and partitions are planned for more frames than arrive', () => {
    for (const { seconds, reserved } of [detect, annotate ?? detect]) {
      expect((reserved * batch) / seconds).toBeGreaterThan(framesPerSecond);
      // No partition has two invocations at a time.
      expect((partitions * batch) / seconds).toBeGreaterThan(framesPerSecond);
      // Within the timeout of the function, and the batch's deadline of a minute behind.
      expect(seconds).toBeLessThan(60);
    }
    expect(capacity.gpuPods * GPU_FPS).toBeGreaterThan(framesPerSecond);
    expect(detect.pollers * 5).toBeGreaterThan((framesPerSecond * MEASURED.frameKb) / 1000);
    expect(capacity.s3PutsPerSecond).toBeGreaterThanOrEqual(framesPerSecond);
    expect(partitions).toBeLessThanOrEqual(2 * cameras);
  });
});

test('twice the cameras need about twice of each resource, and a faster GPU needs fewer pods', () => {
  const [one, two] = [of(2_000), of(4_000)];
  const needs = ({ partitions, gpuPods, ingestTasks, s3PutsPerSecond, kafka, detect }: Capacity) => [
    partitions,
    gpuPods,
    ingestTasks,
    s3PutsPerSecond,
    kafka.ingressMb,
    detect.reserved,
  ];
  for (const [index, need] of needs(two).entries()) {
    expect(need / (needs(one)[index] ?? Number.NaN)).toBeGreaterThan(1.9);
    expect(need / (needs(one)[index] ?? Number.NaN)).toBeLessThan(2.2);
  }
  expect(of(1_000, { gpuFps: 2 * GPU_FPS }).gpuPods).toBe(Math.ceil(of(1_000).gpuPods / 2));
});

test('STORE=archive saves over 80 % of the S3 requests, and does not change the cost of S3 storage', () => {
  const [frames, archive] = [of(1_000), of(1_000, { store: 'archive' })];
  expect(archive.s3PutsPerSecond).toBeLessThan(0.2 * frames.s3PutsPerSecond);
  const paid = ({ usdPerMonth }: Capacity, what: string) =>
    usdPerMonth.find(({ item }) => item === what)?.usd ?? 0;
  expect(paid(archive, 'S3 requests')).toBeLessThan(0.2 * paid(frames, 'S3 requests'));
  expect(Math.abs(paid(archive, 'S3 storage') / paid(frames, 'S3 storage') - 1)).toBeLessThan(0.1);
});

const usd = ({ usdPerMonth }: Capacity) => totalUsd(usdPerMonth);

test('with PICTURES=once Kafka ingress is halved, and the annotate function is omitted', () => {
  const [twice, once] = [of(1_000, { store: 'archive' }), of(1_000, { store: 'archive', once: true })];
  expect(once.kafka.ingressMb).toBeCloseTo(twice.kafka.ingressMb / 2, 5);
  expect(once.annotate).toBeUndefined();
  // It does the work of both.
  expect(once.detect.seconds).toBeGreaterThan(twice.detect.seconds);
  expect(usd(once)).toBeLessThan(usd(twice));
});

test.each(['archive', 'video'] as const)(
  'each saving lowers the price at 1,000 cameras with %s, and all of them give under 60 dollars a camera',
  (store) => {
    const work = { store, once: true } as const;
    let before = usd(of(1_000, work));
    for (const [index] of ALL_SAVINGS.entries()) {
      const after = usd(of(1_000, { ...work, savings: ALL_SAVINGS.slice(0, index + 1) }));
      expect(after, ALL_SAVINGS[index]).toBeLessThan(before);
      before = after;
    }
    expect(before / 1_000).toBeLessThan(60);
  },
);

test('with tasks in place of Lambda, the limits are those of ECS tasks and not those of Lambda', () => {
  const limits = (savings: NonNullable<Workload['savings']>) =>
    of(1_000, { savings }).limits.map(({ what }) => what);
  const ofLambda = limits([]).filter((what) => /Lambda|pollers/.test(what));
  expect(ofLambda).toHaveLength(3);
  expect(limits(['workers'])).toEqual(
    expect.arrayContaining(['AWS: tasks of one service', 'production: tasks of a stage']),
  );
  expect(limits(['workers']).filter((what) => ofLambda.includes(what))).toEqual([]);
  const most = of(100_000, { savings: ['workers'] }).limits.find(({ what }) => what.endsWith('of a stage'));
  expect(most?.need).toBeGreaterThan(most?.limit ?? Number.NaN);
});

test('enough brokers are planned that none holds more replicas than AWS recommends', () => {
  const { kafka, partitions } = of(2_000, { once: true, store: 'events', savings: ['batches', 'quality'] });
  expect(kafka.size).toBe('xlarge');
  expect((6 * partitions) / kafka.brokers).toBeLessThanOrEqual(1_000);
});

test('the S3 PUTs of a video are counted for each of its segments', () => {
  const video = of(1_000, { store: 'video', once: true, savings: ['batches', 'quality'] });
  const archive = of(1_000, { store: 'archive', once: true, savings: ['batches', 'quality'] });
  const lines = archive.s3PutsPerSecond / 2;
  expect(video.batch / video.streamsPerBatch).toBeGreaterThan(60);
  expect(video.s3PutsPerSecond).toBeCloseTo(3 * lines, 5);
});

test.each(ALL_SAVINGS)(
  'the saving %s changes the settings of a stage, and these settings are valid',
  (name) => {
    const before = { stage: stageOf('production'), partitionsPerCamera: 0 };
    const { stage } = SAVINGS[name].apply(before);
    expect(SAVINGS[name].apply(before)).not.toEqual(before);
    const changed = Object.entries(stage.settings).filter(
      ([key, value]) => value !== before.stage.settings[key as never],
    );
    expect(settingsOf(Object.fromEntries(changed) as Given, {})).toMatchObject(Object.fromEntries(changed));
  },
);

/** The most cameras that a kind of limits allows, and the limit that one more exceeds. */
function mostCameras(kind: 'AWS' | 'production', work: Omit<Workload, 'cameras'>) {
  const broken = (cameras: number) =>
    capacityOf({ ...work, cameras }).limits.find(
      ({ what, need, limit }) => what.startsWith(kind) && need > limit,
    );
  let cameras = 1;
  while (!broken(2 * cameras)) cameras *= 2;
  for (let step = cameras; step >= 1; step /= 2) if (!broken(cameras + step)) cameras += step;
  return { cameras, breaks: broken(cameras + 1) as Capacity['limits'][number] };
}

test.each(['AWS', 'production'] as const)(
  'the limits of %s hold for the computed number of cameras, and break with one more',
  (kind) => {
    const { cameras, breaks } = mostCameras(kind, work);
    const broken = (count: number) =>
      of(count).limits.filter(({ what, need, limit }) => what.startsWith(kind) && need > limit);
    expect(broken(cameras)).toEqual([]);
    expect(broken(cameras + 1)).toContainEqual(breaks);
  },
);

test('docs/capacity.md has the tables and figures of the capacity model', () => {
  expectGenerated('docs/capacity.md', 'capacity', summary());
  expectGenerated('docs/capacity.md', 'weights', weights());
  expectGenerated('docs/capacity.md', 'measured', measured());
});

function weights(): string {
  const { batchKb, qualities } = pictures;
  const does = {
    frames: '`video-frames`',
    detections: '`detections`',
    references: '`detections`, `PICTURES=once`',
  };
  const rows = Object.entries(batchKb).map(
    ([form, { kafka, event, headersInEvent }]) =>
      `| ${does[form as keyof typeof does]} | ${kafka} | ${event} | ${headersInEvent} |`,
  );
  const sizes = Object.entries(qualities).map(
    ([quality, one]) =>
      `| ${quality} | ${one.frameKb} | ${one.annotatedKb} | ${one.optimisedKb} | ${one.archivedKb} |`,
  );
  return [
    '| KB of a batch | in Kafka | in the event | of that, headers |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
    '| `JPEG_QUALITY` | KB of a frame | annotated | with codes of its own | in the archive |',
    '| --- | --- | --- | --- | --- |',
    ...sizes,
  ].join('\n');
}

/** What the model reckons with, and what it says of the machine that this was measured on. */
function measured(): string {
  const { cpuMs, ingest, live } = MEASURED;
  const cpu = Object.entries(cpuMs).map(([name, ms]) => `${name} ${ms}`);
  const rows = live.map(({ cameras, fps, storedFps }) => {
    const predicted = oneMachineFps(LIVE_CORES, { cameras, fps });
    const knee = predicted < cameras * fps * 0.99 ? 'the knee is passed' : 'keeps up';
    return `| ${cameras} ${cameras === 1 ? 'camera' : 'cameras'} at ${fps} fps | ${predicted.toFixed(1)} of ${cameras * fps}, ${knee} | ${storedFps} |`;
  });
  return [
    `On ${pipelineRun.date}: CPU milliseconds a frame of ${cpu.join(', ')}. On ${load.date} the same cores did ${LIVE_SPEED.toFixed(2)} times as`,
    `much. In the terms of the first day ingest takes ${ingest.readMs.toFixed(1)} for each of the ${ingest.cameraFps} frames a second that a live camera sends, and`,
    `${ingest.sampleMs.toFixed(1)} for each that is sampled. Live cameras are from the second day, and predicted for it:`,
    '',
    `| on ${MEASURED.cores} cores | predicted | measured |`,
    '| --- | --- | --- |',
    `| frames that wait in Kafka | ${fromKafkaFps(MEASURED.cores).toFixed(1)} frames/s | ${MEASURED.fromKafkaFps} |`,
    ...rows,
  ].join('\n');
}

function summary(): string {
  const all = SIZES.map((cameras) => of(cameras));
  const number = (value: number) =>
    value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 1 : 0 });
  const costliest = ({ usdPerMonth }: Capacity) =>
    usdPerMonth.toSorted((a, b) => b.usd - a.usd)[0]?.item ?? '';
  const stage = (
    { seconds, reserved }: Capacity['detect'] = { seconds: 0, concurrency: 0, reserved: 0, pollers: 0 },
  ) => `${number(reserved)} of ${seconds.toFixed(2)} s`;
  const rows: [string, (capacity: Capacity) => string][] = [
    ['frames a second', ({ framesPerSecond }) => number(framesPerSecond)],
    ['partitions of each topic', ({ partitions }) => number(partitions)],
    ['pollers of each mapping', ({ detect }) => number(detect.pollers)],
    ['detect: reserved concurrency', ({ detect }) => stage(detect)],
    ['annotate: reserved concurrency', ({ annotate }) => stage(annotate)],
    ['GPU pods', ({ gpuPods }) => number(gpuPods)],
    ['ingest tasks of 2 vCPU', ({ ingestTasks }) => number(ingestTasks)],
    ['MSK, `express.m7g`', ({ kafka }) => `${kafka.brokers} x ${kafka.size}`],
    ['S3 PUT/s', ({ s3PutsPerSecond }) => number(s3PutsPerSecond)],
    ['US dollars a month', (capacity) => number(usd(capacity))],
    ['most of it for', costliest],
    [
      'AWS limit that is nearest',
      ({ limits }) => limits.find(({ what }) => what.startsWith('AWS'))?.what.slice(5) ?? '',
    ],
  ];
  const limits = (['production', 'AWS'] as const).map((kind) => {
    const { cameras, breaks } = mostCameras(kind, work);
    const where =
      kind === 'AWS' ? "An account with AWS's default quotas" : 'The stage `production` as its table stands';
    return `${where} holds ${number(cameras)} cameras; what breaks first is ${breaks.what.slice(kind.length + 2)} (${number(breaks.limit)}).`;
  });
  return [
    `| cameras | ${SIZES.map(number).join(' | ')} |`,
    `| --- | ${SIZES.map(() => '--- |').join(' ')}`,
    ...rows.map(([name, cell]) => `| ${name} | ${all.map(cell).join(' | ')} |`),
    '',
    limits.join(' '),
    '',
    ...savingsTable(),
  ].join('\n');
}

/** Dollars of a camera and month, one option after another. */
function savingsTable(): string[] {
  const steps: [string, Partial<typeof work>][] = [
    ['Express brokers, all else as in `production`', {}],
    ['`STORE=archive`', { store: 'archive' }],
    ['`PICTURES=once`', { store: 'archive', once: true }],
    ...ALL_SAVINGS.map((name, index): [string, Partial<typeof work>] => [
      SAVINGS[name].does,
      { store: 'archive', once: true, savings: ALL_SAVINGS.slice(0, index + 1) },
    ]),
    ['all of it with `STORE=video`', { store: 'video', once: true, savings: ALL_SAVINGS }],
    [
      'all of it with `STORE=events`, of which a tenth is kept',
      { store: 'events', once: true, savings: ALL_SAVINGS },
    ],
    ['`STORE=archive` with all but the tasks', { store: 'archive', once: true, savings: WITH_LAMBDA }],
    ['`STORE=video` with all but the tasks', { store: 'video', once: true, savings: WITH_LAMBDA }],
  ];
  const cell = (cameras: number, more: Partial<typeof work>) =>
    (usd(of(cameras, more)) / cameras).toLocaleString('en-US', { maximumFractionDigits: 0 });
  return [
    `| dollars a camera and month, each line with those above it | ${SIZES.map((size) => size.toLocaleString('en-US')).join(' | ')} | its price |`,
    `| --- | ${SIZES.map(() => '--- |').join(' ')} --- |`,
    ...steps.map(([name, more]) => {
      const last =
        more.store === 'archive' && more.savings !== WITH_LAMBDA ? more.savings?.at(-1) : undefined;
      return `| ${name} | ${SIZES.map((size) => cell(size, more)).join(' | ')} | ${last ? SAVINGS[last].price : ''} |`;
    }),
  ];
}
