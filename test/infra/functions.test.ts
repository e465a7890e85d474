import { execFile } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { variables } from '@video-pipeline/config';
import { describe, expect, test } from 'vitest';
import { COMPACTING, type Row, rows, stageOf } from '../../infra/stages.ts';
import { DEPLOYED, EVALUATIONS, graphOf, ofType, one } from './graphs.ts';
import type { Build, Graph } from './offline/evaluate.ts';
import { ROOT } from './offline/platform.ts';

const MAPPING = 'aws:lambda/eventSourceMapping:EventSourceMapping';
const FUNCTION = 'aws:lambda/function:Function';
const run = promisify(execFile);
const MB = 1024 * 1024;

describe.each(DEPLOYED)('Lambda functions of %s', (deployed) => {
  test.each([
    ['Detect', 'video-frames', 'frame-consumer-group'],
    ['Annotate', 'detections', 'frame-consumer-group-annotate'],
    ['Notify', 'events', 'frame-consumer-group-notify'],
  ])(
    'the mapping of %s reads batches of 25 records or 5 s from %s with the consumer group %s',
    async (name, topic, consumerGroupId) => {
      const graph = await graphOf(deployed);
      const { inputs } = one(graph, MAPPING, `${name}Mapping`);
      expect(inputs).toMatchObject({
        batchSize: 25,
        maximumBatchingWindowInSeconds: 5,
        topics: [topic],
        amazonManagedKafkaEventSourceConfig: { consumerGroupId },
        startingPosition: 'TRIM_HORIZON',
        functionName: one(graph, FUNCTION, `${name}Function`).inputs.name,
        eventSourceArn: expect.stringContaining(':cluster/'),
      });
      const { pollers } = stageOf(EVALUATIONS[deployed].stage).functions;
      expect(inputs.provisionedPollerConfig).toEqual(
        pollers && {
          minimumPollers: pollers.min,
          maximumPollers: pollers.max,
          pollerGroupName: expect.stringMatching(/^[\w/*:+=.@-]{1,128}$/),
        },
      );
      // Lambda refuses it without provisioned pollers.
      expect(inputs.bisectBatchOnFunctionError).toBe(pollers ? true : undefined);
    },
  );

  test('retry a failed batch for as long as Kafka keeps its records', async () => {
    const graph = await graphOf(deployed);
    const { functions, kafka } = stageOf(EVALUATIONS[deployed].stage);
    for (const { inputs, name } of ofType(graph, MAPPING)) {
      if (!functions.pollers) {
        // Neither number can be set: only without a destination does Lambda go on for ever.
        expect(inputs.destinationConfig, name).toBeUndefined();
        expect(inputs.maximumRetryAttempts, name).toBeUndefined();
        continue;
      }
      expect(inputs.destinationConfig.onFailure.destinationArn, name).toMatch(/^arn:aws:s3:::.*store/);
      // Endless retries with a destination are ten.
      expect(inputs.maximumRetryAttempts, name).toBe(10_000);
      const age = inputs.maximumRecordAgeInSeconds;
      expect(age, name).toBeLessThan(kafka.retentionHours * 3600);
      expect(age, name).toBeGreaterThanOrEqual(0.75 * kafka.retentionHours * 3600);
    }
  });

  test('use ReportBatchItemFailures only if the handlers return batchItemFailures', async () => {
    const named = globSync('functions/src/*.ts', { cwd: ROOT })
      .filter((file) => !file.endsWith('.test.ts'))
      .some((file) => readFileSync(join(ROOT, file), 'utf8').includes('batchItemFailures'));
    for (const { inputs } of ofType(await graphOf(deployed), MAPPING)) {
      expect(inputs.functionResponseTypes !== undefined).toBe(named);
    }
  });

  test('share one group of provisioned pollers', async () => {
    const groups = ofType(await graphOf(deployed), MAPPING).map(
      ({ inputs }) => inputs.provisionedPollerConfig?.pollerGroupName,
    );
    expect(new Set(groups).size).toBe(1);
  });

  test("have a timeout, memory and storage within Lambda's limits, and run on arm64 except in sst dev", async () => {
    for (const { inputs, name } of ofType(await graphOf(deployed), FUNCTION)) {
      expect(inputs.timeout, name).toBeLessThanOrEqual(14 * 60);
      expect(inputs.memorySize, name).toBeGreaterThanOrEqual(512);
      expect(inputs.memorySize, name).toBeLessThanOrEqual(10_240);
      expect(inputs.architectures).toEqual([deployed === 'dev' ? 'x86_64' : 'arm64']);
      expect(inputs.runtime).toBe(deployed === 'dev' ? 'provided.al2023' : 'nodejs24.x');
      const { partitions } = stageOf(EVALUATIONS[deployed].stage).kafka;
      expect(inputs.reservedConcurrentExecutions).toBe(name === 'CompactFunction' ? COMPACTING : partitions);
    }
  });

  test('get only known environment variables, at most 4 KB in total', async () => {
    for (const { inputs, name } of ofType(await graphOf(deployed), FUNCTION)) {
      const given: Record<string, string> = inputs.environment.variables;
      const ours = Object.keys(given).filter((key) => !key.startsWith('SST_'));
      expect(
        ours.filter((key) => !(key in variables)),
        name,
      ).toEqual([]);
      expect(JSON.stringify(given).length).toBeLessThan(4096);
    }
  });
});

test('an hourly rule compacts each of the 16 parts of an hour, and its events, one call at a time', async () => {
  const graph = await graphOf('production');
  const targets = ofType(graph, 'aws:cloudwatch/eventTarget:EventTarget').map(({ inputs }) => inputs);
  const parts = targets.map(({ input }) => JSON.parse(input).part);
  expect(parts.sort()).toEqual([...'0123456789abcdef', 'events'].sort());
  const rules = ofType(graph, 'aws:cloudwatch/eventRule:EventRule');
  for (const { inputs } of rules) expect(inputs.scheduleExpression).toBe('cron(3 * * * ? *)');
  // EventBridge has five targets a rule at most.
  for (const list of Map.groupBy(targets, ({ rule }) => rule).values()) expect(list.length).toBeLessThan(6);
  const { name } = one(graph, FUNCTION, 'CompactFunction').inputs;
  expect(
    one(graph, 'aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig', 'CompactOnce').inputs,
  ).toEqual({
    functionName: name,
    maximumRetryAttempts: 0,
    maximumEventAgeInSeconds: 2_700,
  });
  expect(ofType(graph, 'aws:lambda/permission:Permission')).toHaveLength(rules.length);
});

test("NDJSON expires after the stage's ndjsonDays, at least three, and never in a stage without it", async () => {
  for (const deployed of DEPLOYED) {
    const graph = await graphOf(deployed);
    const { ndjsonDays } = stageOf(EVALUATIONS[deployed].stage).store;
    expect(ndjsonDays, deployed).toBe(deployed === 'hosted' ? 14 : undefined);
    for (const { inputs } of ofType(graph, 'aws:cloudwatch/eventTarget:EventTarget'))
      expect(JSON.parse(inputs.input).expireDays, deployed).toBe(ndjsonDays);
    const policies = JSON.stringify(one(graph, 'aws:iam/role:Role', 'CompactRole').inputs.inlinePolicies);
    const deletes = /s3:DeleteObject[^}]*\/detections\/\*/.test(policies);
    expect(deletes, deployed).toBe(ndjsonDays !== undefined);
  }
  const hosted = rows.hosted as Row;
  rows.hasty = { ...hosted, store: { ...hosted.store, ndjsonDays: 2 } };
  expect(() => stageOf('hasty')).toThrow(/^stage 'hasty': store.ndjsonDays must be 3 or more, not 2/);
  delete rows.hasty;
});

test("detect gets the URL or the endpoint name of the stage's inference backend", async () => {
  const environment = async (deployed: (typeof DEPLOYED)[number]) =>
    one(await graphOf(deployed), FUNCTION, 'DetectFunction').inputs.environment.variables;
  expect(await environment('production')).toMatchObject({
    INFERENCE_BACKEND: 'http',
    INFERENCE_SERVICE_URL: 'http://inference.elb.amazonaws.com:8000',
  });
  expect(await environment('personal')).toMatchObject({
    INFERENCE_BACKEND: 'sagemaker',
    SAGEMAKER_ENDPOINT_NAME: 'video-pipeline-alice',
  });
  expect(await environment('dev')).toMatchObject({ INFERENCE_SERVICE_URL: 'http://127.0.0.1:8000' });
});

test('with EVENT_CLIPS the clip function reads events with its own group, and detect gets the variable', async () => {
  const graph = await graphOf('hosted');
  expect(one(graph, MAPPING, 'ClipMapping').inputs).toMatchObject({
    topics: ['events'],
    amazonManagedKafkaEventSourceConfig: { consumerGroupId: 'frame-consumer-group-clip' },
    functionName: one(graph, FUNCTION, 'ClipFunction').inputs.name,
  });
  const { variables } = one(graph, FUNCTION, 'DetectFunction').inputs.environment;
  expect(variables.EVENT_CLIPS).toBe('on');
  expect(ofType(await graphOf('production'), FUNCTION).map(({ name }) => name)).not.toContain('ClipFunction');
});

test.each([
  ['Detect', 'production'],
  ['Annotate', 'production'],
  ['Notify', 'production'],
  ['Clip', 'hosted'],
] as const)('the bundle of the %s function loads and exports its handler', async (name, deployed) => {
  const { file, bytes } = buildOf(await graphOf(deployed), name);
  expect(bytes).toBeLessThan(5 * MB);
  // As a process of its own, from where the packages that are installed beside it are found.
  const script = `const { handler } = await import(${JSON.stringify(file)}); console.log(typeof handler);`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    cwd: dirname(file),
  });
  expect(stdout.trim()).toBe('function');
});

test.each([
  [
    'Annotate',
    'production',
    ['sharp', '@julusian/jpeg-turbo', 'koffi', '@fontsource/b612'],
    '@img/sharp-linux-arm64/lib/sharp-linux-arm64-0.35.5.node',
    100,
  ],
  ['Clip', 'hosted', ['@seydx/node-av-linux-arm64'], '@seydx/node-av-linux-arm64/node-av.node', 200],
  [
    'Compact',
    'production',
    ['@duckdb/node-api', '@duckdb/node-bindings-linux-arm64'],
    '@duckdb/node-bindings-linux-arm64/libduckdb.so',
    100,
  ],
] as const)(
  "packages installed beside %s include the arm64 binary for Lambda's glibc, and fit into 250 MB",
  { timeout: 120_000 },
  async (name, deployed, packages, binary, maxMb) => {
    const { install, architecture, bytes } = buildOf(await graphOf(deployed), name);
    expect(Object.keys(install)).toEqual(packages);
    const folder = await installed(install, architecture);
    expect(existsSync(join(folder, 'node_modules', binary))).toBe(true);
    const files = globSync('node_modules/**/*', { cwd: folder, withFileTypes: true });
    const sizes = files.filter((file) => file.isFile()).map(sizeOf);
    const total = sizes.reduce((sum, size) => sum + size, bytes);
    expect(total).toBeLessThan(maxMb * MB);
    for (const { parentPath, name } of files.filter((file) => /\.node$|\.so(\.|$)/.test(file.name)))
      expect(newestGlibc(join(parentPath, name)), name).toBeLessThanOrEqual(LAMBDA_GLIBC);
  },
);

/** Minor version of glibc 2 on Amazon Linux 2023, which Node 24 runs on in Lambda. */
const LAMBDA_GLIBC = 34;

/** The newest minor version of glibc 2 whose symbols a library asks for. */
function newestGlibc(library: string): number {
  const named = readFileSync(library, 'latin1').matchAll(/\0GLIBC_2\.(\d+)/g);
  return Math.max(0, ...Array.from(named, ([, minor]) => Number(minor)));
}

const sizeOf = ({ parentPath, name }: { parentPath: string; name: string }) =>
  statSync(join(parentPath, name)).size;

function buildOf({ builds }: Graph, name: string): Build {
  const build = builds[name];
  if (!build) throw new Error(`${name} was not bundled`);
  return build;
}

/**
 * Hides the C library of this machine, as npm finds none on macOS either: by a command, then by Node's report.
 * @see https://github.com/npm/npm-install-checks/blob/main/lib/current-env.js
 */
const WITHOUT_LIBC = `const { readFileSync } = fs;
fs.readFileSync = (file, ...more) => readFileSync(file === '/usr/bin/ldd' ? '/nowhere' : file, ...more);
process.report.getReport = () => ({ header: {}, sharedObjects: [] });`;

/**
 * Installs packages as SST does for a function's platform, without scripts as `npm run deploy` wants, once; `*` is the version that functions/package.json pins.
 * SST names the C library only beside sharp (`pkg/runtime/node/build.go`). Then npm asks the deploying machine.
 */
async function installed(packages: Record<string, string>, architecture: string): Promise<string> {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'functions/package.json'), 'utf8'));
  const specs = Object.entries(packages).map(
    ([name, version]) => `${name}@${version === '*' ? dependencies[name] : version}`,
  );
  const platform = ['--os=linux', `--cpu=${architecture}`, ...('sharp' in packages ? ['--libc=glibc'] : [])];
  const folder = join(cacheDir(), 'lambda', ['sst', architecture, ...specs].join('-').replaceAll('/', '_'));
  if (existsSync(join(folder, 'node_modules'))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{}');
  const hide = join(folder, 'hide.cjs');
  writeFileSync(hide, `const fs = require('node:fs');\n${WITHOUT_LIBC}`);
  await run('npm', ['install', '--force', '--no-audit', '--no-fund', ...platform, ...specs], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: `--require ${hide}`, npm_config_ignore_scripts: 'true' },
  });
  return folder;
}
