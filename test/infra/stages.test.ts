import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join, matchesGlob, relative } from 'node:path';
import { promisify } from 'node:util';
import { type PipelineStage, STAGES } from '@video-pipeline/stages';
import { describe, expect, test, vi } from 'vitest';
import { estimate, totalUsd } from '../../infra/costs.ts';
import { deployedStages, lambdaOf, stageOf } from '../../infra/stages.ts';
import { expectGenerated } from '../support/generated.ts';
import { DEPLOYED, EVALUATIONS, graphOf, ofType, one } from './graphs.ts';
import type { Graph } from './offline/evaluate.ts';
import { ensurePlatform, ROOT } from './offline/platform.ts';

test('sst.config.ts and infra/ pass the type check against the types of SST and its providers', async () => {
  await ensurePlatform();
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  await promisify(execFile)(tsc, ['-p', 'infra', '--singleThreaded'], { cwd: ROOT });
});

test('production is protected and keeps its data when it is removed, and other stages are removed completely', async () => {
  const production = await graphOf('production');
  expect(production.app).toMatchObject({ removal: 'retain', protect: true });
  const retained = production.resources
    .filter(({ retainOnDelete }) => retainOnDelete)
    .map(({ name }) => name);
  expect(retained).toEqual(expect.arrayContaining(['StoreBucket', 'NetworkVpc']));
  expect(one(production, 'aws:eks/cluster:Cluster', 'InferenceCluster').inputs.deletionProtection).toBe(true);

  for (const deployed of ['staging', 'personal', 'dev'] as const) {
    const graph = await graphOf(deployed);
    expect(graph.app).toMatchObject({ removal: 'remove', protect: false });
    const kept = graph.resources.filter(({ retainOnDelete, protect }) => retainOnDelete || protect);
    expect(
      kept.map(({ name }) => name),
      deployed,
    ).toEqual([]);
    expect(one(graph, 'aws:s3/bucket:Bucket', 'StoreBucket').inputs.forceDestroy).toBe(true);
    for (const { inputs } of ofType(graph, 'aws:ecr/repository:Repository'))
      expect(inputs.forceDelete).toBe(true);
    for (const { inputs } of ofType(graph, 'aws:secretsmanager/secret:Secret')) {
      expect(inputs.recoveryWindowInDays).toBe(0);
    }
  }
});

/**
 * SST writes sst-env.d.ts beside each package.json that it finds, and the images' contexts would have it from then on.
 * @see https://github.com/anomalyco/sst/blob/v4.17.0/pkg/types/typescript/typescript.go
 */
test('a deploy writes no file of types into the packages', async () => {
  const { app } = await graphOf('staging');
  const ignored: string[] = (app as any).types?.ignore ?? [];
  const packages = globSync('{.,*,packages/*}/package.json', { cwd: ROOT, exclude: ['node_modules'] });
  expect(packages.length).toBeGreaterThan(20);
  const isIgnored = (file: string) => ignored.some((folder) => !relative(folder, file).startsWith('..'));
  expect(packages.filter((file) => !isIgnored(file))).toEqual([]);
});

/**
 * pulumi-docker-build builds an image anew, and so replaces its tasks, when any file of the context has changed.
 * @see https://github.com/pulumi/pulumi-docker-build/blob/main/provider/internal/context.go
 */
test('folders of the context hold only what an image copies, and no tests', () => {
  const patterns = readFileSync(join(ROOT, '.dockerignore'), 'utf8').trim().split('\n');
  const isIgnored = (file: string) =>
    patterns.reduce((is, pattern) => {
      const path = pattern.replace('!', '');
      return matchesGlob(file, path) || matchesGlob(file, `${path}/**`) ? path === pattern : is;
    }, false);
  const files = globSync('*/**/*.*', { cwd: ROOT, exclude: ['**/node_modules'] });
  const context = files.filter((file) => !isIgnored(file));
  const copied = globSync('{*,*/*}/Dockerfile*', { cwd: ROOT, exclude: ['node_modules'] }).flatMap((file) =>
    Array.from(
      readFileSync(join(ROOT, file), 'utf8').matchAll(/^COPY (?!-)(.+) \S+$/gm),
      ([, from = '']) => from,
    ),
  );
  const sources = copied.flatMap((from) => from.split(' '));
  for (const from of sources) expect(isIgnored(from), from).toBe(false);
  const isCopied = (file: string) => sources.some((from) => file === from || file.startsWith(`${from}/`));
  const others = context.filter((file) => !isCopied(file) || file.endsWith('.test.ts'));
  expect(others.filter((file) => !/^model\/test\/|Dockerfile/.test(file))).toEqual([]);
});

test("names of log groups for delivered logs do not lengthen the account's resource policy", async () => {
  for (const deployed of DEPLOYED) {
    const graph = await graphOf(deployed);
    const { loggingInfo } = one(graph, 'aws:msk/cluster:Cluster', 'KafkaCluster').inputs;
    const delivered = ofType(graph, 'aws:cloudwatch/logDeliveryDestination:LogDeliveryDestination').map(
      ({ inputs }) => inputs.deliveryDestinationConfiguration.destinationResourceArn.split('log-group:')[1],
    );
    for (const group of [loggingInfo.brokerLogs.cloudwatchLogs.logGroup, ...delivered])
      expect(group, deployed).toMatch(/^\/aws\/vendedlogs\/(msk|eks)\/video-pipeline-/);
  }
});

describe.each(DEPLOYED)('the bucket and topics of %s', (deployed) => {
  test("keep pictures, clips and failed records for the stage's days, encrypted and without public access", async () => {
    const graph = await graphOf(deployed);
    const { annotatedDays, clipDays, failedDays, versioning } = stageOf(EVALUATIONS[deployed].stage).store;
    const { rules } = one(
      graph,
      'aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration',
      'StoreLifecycle',
    ).inputs;
    const days = Object.fromEntries(
      // Those of versions that are no more have rules of their own.
      rules
        .filter(({ expiration }: any) => expiration)
        .map(({ filter, expiration }: any) => [filter?.prefix, expiration.days]),
    );
    expect(days).toMatchObject({
      'annotated/': annotatedDays,
      'clips/': clipDays,
      'failed/': failedDays,
      'aws/lambda/': failedDays,
    });
    expect(rules.some(({ id }: any) => id === 'old-versions')).toBe(versioning);
    const block = ofType(graph, 'aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock')[0]?.inputs;
    expect(block).toMatchObject({
      blockPublicAcls: true,
      blockPublicPolicy: true,
      ignorePublicAcls: true,
      restrictPublicBuckets: true,
    });
    expect(
      ofType(graph, 'aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration'),
    ).toHaveLength(1);
  });

  test('have room for the load during the retention, and enough replicas', async () => {
    const graph = await graphOf(deployed);
    const { kafka, load } = stageOf(EVALUATIONS[deployed].stage);
    for (const { inputs } of ofType(graph, 'aws:msk/topic:Topic')) {
      const configs = JSON.parse(inputs.configs);
      expect(configs['retention.ms']).toBe(String(kafka.retentionHours * 3_600_000));
      expect(Number(configs['max.message.bytes'])).toBeGreaterThanOrEqual(25 * 160_000);
      expect(inputs.partitionCount).toBe(kafka.partitions);
      expect(inputs.replicationFactor).toBeGreaterThanOrEqual(2);
    }
    if (kafka.kind !== 'provisioned') return;
    const replicas = ofType(graph, 'aws:msk/topic:Topic')[0]?.inputs.replicationFactor;
    // Frames and detections each carry the JPEG.
    const gb =
      (2 * load.streams * load.frameRate * load.frameKb * 3600 * kafka.retentionHours * replicas) / 1e6;
    expect(gb).toBeLessThan(0.6 * kafka.volumeGb * kafka.brokers);
  });

  test('have the default tags with the stage, as all AWS resources have', async () => {
    const graph = await graphOf(deployed);
    const { stage } = EVALUATIONS[deployed];
    expect(graph.app.providers.aws.defaultTags.tags).toMatchObject({ app: 'video-pipeline', stage });
    // Default tags reach what goes by the default provider: nothing may bring one of its own.
    expect(ofType(graph, 'pulumi:providers:aws')).toEqual([]);
  });
});

test('the cost estimate orders production, staging and personal stages by price, and lists its assumptions', () => {
  const totals = ['production', 'staging', 'alice'].map((name) => {
    const { items, assumptions } = estimate(stageOf(name));
    expect(assumptions.length).toBeGreaterThan(0);
    for (const { item, usd } of items) expect(usd, item).toBeGreaterThan(0);
    return totalUsd(items);
  });
  expect(totals).toEqual([...totals].sort((a, b) => b - a));
});

test('the cost estimate includes provisioned pollers in stages that have them', () => {
  const of = (name: string) =>
    estimate(stageOf(name)).items.find(({ item }) => item === 'provisioned pollers');
  // A unit holds ten pollers, of which eight are needed, or 20 MB/s, of which detect and annotate bring 24.
  expect(of('production')?.usd).toBeCloseTo(2 * 0.185 * 730, 5);
  expect(of('staging')).toBeUndefined();
});

test('the cost of a stage of the pipeline that works on events comes from the table of stages', () => {
  const of = (name: string) =>
    estimate(stageOf(name)).items.find(({ item }) => item === 'work on events')?.usd;
  // 12 s of 1,769 MB, 60 gets and 15 puts for each of 87,600 events a month, whose megabyte is kept for 90 days.
  const each = (12 * 1769 * 0.0000133334) / 1024 + (60 * 0.4 + 15 * 5) / 1e6;
  expect(of('hosted')).toBeCloseTo(87_600 * each + 87_600 * 1e-3 * 0.023, 5);
  expect(of('production')).toBeUndefined();
});

test('with PICTURES=once detect has at least the memory of annotate', () => {
  const mine = stageOf('mine');
  const detect = (PICTURES: 'twice' | 'once') =>
    deployedStages({ ...mine, settings: { ...mine.settings, PICTURES } })[0];
  expect(detect('twice')?.size.memoryMb).toBe(512);
  expect(detect('once')).toMatchObject({ step: { name: 'detect' }, size: { memoryMb: 1769 } });
});

test('a stage of the pipeline that needs a variable is deployed when the row or the shell sets the variable', () => {
  const deployed = (name: string) => deployedStages(stageOf(name)).map(({ step }) => step.name);
  expect(deployed('production')).not.toContain('clip');
  expect(deployed('hosted')).toContain('clip');
  vi.stubEnv('EVENT_CLIPS', 'on');
  expect(deployed('production')).toContain('clip');
  const [notify] = STAGES.filter(({ name }) => name === 'notify');
  const sink = { ...(notify as PipelineStage), lambda: { memoryMb: 512, timeoutSeconds: 60 } };
  const size = () => lambdaOf(stageOf('production'), sink);
  expect(size()).toBeUndefined();
  vi.stubEnv('WEBHOOK_URL', 'https://hooks.example.com/');
  expect(size()).toMatchObject({ memoryMb: 512 });
  vi.unstubAllEnvs();
});

test('docs/deploy.md has the computed costs of the stages', () => {
  const total = (name: string) => totalUsd(estimate(stageOf(name)).items);
  const { items } = estimate(stageOf('production'));
  const puts = items.find(({ item }) => item === 'S3 requests')?.usd ?? 0;
  const { load } = stageOf('production');
  const dollars = (usd: number) => (Math.round(usd / 10) * 10).toLocaleString('en-US');
  const hour = (total('alice') / stageOf('alice').load.stageHours).toFixed(2);
  const lines = [
    `In short: \`production\` with ${load.streams} cameras costs about ${dollars(total('production'))} dollars a month,`,
    `${Math.round((100 * puts) / total('production'))} % of it for S3 requests (one object a frame: half the frame rate, half of that).`,
    `\`staging\` costs about ${dollars(total('staging'))} a month, a personal stage about ${hour} an hour.`,
  ].join('\n');
  expectGenerated('docs/deploy.md', 'costs', lines);
});

test.each(DEPLOYED)('the resources of %s equal its snapshot', async (deployed) => {
  await expect(compact(await graphOf(deployed))).toMatchFileSnapshot(`snapshots/${deployed}.txt`);
});

/** Each resource and, a line each, what is set of it, without what is random or only a bundle's hash. */
function compact({ resources }: Graph): string {
  return (
    resources
      .filter(({ type, custom }) => custom && !type.startsWith('sst:'))
      .map(({ type, name, inputs }) => {
        const settings = Object.entries(inputs).map(([key, value]) => `  ${key}: ${JSON.stringify(value)}\n`);
        return `${type.replace(/^(\w+:[\w.-]+)\/\w+:/, '$1:')} ${name}\n${settings.sort().join('')}`;
      })
      .join('')
      // The second is code of SST's, whose names change with whatever is bundled beside it.
      .replace(/^( {2}(?:dashboardBody|__provider): ).*$/gm, '$1...')
      .replace(/\b([A-Z]\w*|storebucket)-[abcdefhkmnorstuvwxz]{8}\b/g, '$1-RANDOM')
      .replace(/code-[0-9a-f]{64}/g, 'code-HASH')
      .replaceAll(ROOT, '.')
  );
}
