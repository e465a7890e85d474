import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { type Detection, encodeFrame } from '@video-pipeline/frame';
import { connectKafka, orderedProducer } from '@video-pipeline/kafka';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import type { Flow } from '../../packages/console/src/api.ts';
import { DEPLOY_CIDR, ofType, one } from '../infra/graphs.ts';
import type { Graph } from '../infra/offline/evaluate.ts';
import { ensurePlatform } from '../infra/offline/platform.ts';
import { copyRepository } from '../support/copy-repository.ts';
import { startFakeServer } from '../support/fake-server.ts';
import { unique } from '../support/unique.ts';
import { startGivenServers } from './given-servers.ts';
import { spotFrame } from './recovery-rig.ts';
import { startStackProcess } from './stack-process.ts';

/** A stage that nobody has heard of: the row that it has in the table, and its handler, which sets each record aside. */
const ROW = `  {
    name: 'tally',
    does: 'Records counted',
    handler: 'functions/src/tally.ts',
    reads: 'KAFKA_DETECTIONS_TOPIC',
    carriesFrames: false,
    counts: ['FramesFailed'],
    lambda: { memoryMb: 512, timeoutSeconds: 60, putsObjects: ['tallies'] },
  },
`;
const HANDLER = `import { failedKey, type MSKEvent, recordsOf } from '@video-pipeline/frame';
import { createStore } from '@video-pipeline/storage';
const store = createStore();
export async function handler(event: MSKEvent): Promise<void> {
  for (const record of recordsOf(event)) {
    const failed = { stage: 'tally', reason: 'counted', time: new Date().toISOString(), record };
    await store.put({ key: failedKey('tally', record), body: JSON.stringify(failed), contentType: 'application/json' });
  }
}
process.on('exit', (code) => console.error('tally ends with', code));
`;
const FRAMES = 5;
const COUNTS_URL = 'https://people.example.com:8443/token';
const PERSON: Detection = { class_id: 0, class_name: 'person', confidence: 0.9, bbox: [10, 20, 60, 80] };
/** What examples/README.md tells to add for the sink: its variable and its row, by names that nobody has added yet. */
const README = readFileSync(join(import.meta.dirname, '../../examples/README.md'), 'utf8');
const [VARIABLE = '', SINK = ''] = [...README.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) =>
  renamed(code),
);

let root: string;
beforeAll(async () => {
  await ensurePlatform();
  root = await mkdtemp(join(tmpdir(), 'stage-added-'));
  copyRepository(root);
  insert('packages/stages/src/stages.ts', '\n] as const satisfies', `\n${ROW}${SINK}`);
  insert('packages/config/src/variables.ts', '  KAFKA_BOOTSTRAP_SERVERS:', VARIABLE);
  writeFileSync(join(root, 'functions/src/tally.ts'), HANDLER);
  const example = readFileSync(join(import.meta.dirname, '../../examples/post-people.ts'), 'utf8');
  writeFileSync(join(root, 'functions/src/tell-counts.ts'), renamed(example));
});
afterAll(() => rm(root, { recursive: true, force: true }));

function renamed(code = ''): string {
  return code
    .replaceAll("'post'", "'tell'")
    .replaceAll('PEOPLE_URL', 'COUNTS_URL')
    .replaceAll('post-people', 'tell-counts');
}

/** Puts text before what a file has once. */
function insert(file: string, before: string, text: string): void {
  const path = join(root, file);
  const parts = readFileSync(path, 'utf8').split(before);
  expect(parts, file).toHaveLength(2);
  writeFileSync(path, parts.join(`${text}${before}`));
}

const run = (script: string, args: string[] = [], env: NodeJS.ProcessEnv = {}) =>
  promisify(execFile)(process.execPath, [join(root, script), ...args], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    maxBuffer: 64 * 1024 * 1024,
  });

test('an added stage and an added sink run locally, and appear in the console and in the audit', async () => {
  const dataDir = join(root, unique('data'));
  const given = await startGivenServers({ width: 320, height: 240 }, [PERSON]);
  const receiver = await startFakeServer(() => ({ status: 204 }));
  onTestFinished(async () => void (await Promise.all([given.stop(), receiver.close()])));
  const env = { VIDEO_PIPELINE_CACHE: cacheDir(), COUNTS_URL: receiver.url, ...given.environment() };
  const { KAFKA_TOPIC, KAFKA_DETECTIONS_TOPIC } = env;
  const stack = startStackProcess(dataDir, ['--no-ingest'], { ...env, ...given.inference }, root);
  try {
    const { endpoints } = await stack.until(
      ({ services, endpoints }) =>
        services.tally?.state === 'running' &&
        services.tell?.state === 'running' &&
        services.console !== undefined &&
        endpoints.console !== undefined,
      'the stages and the console run',
    );
    await publish(endpoints.kafka, KAFKA_TOPIC);
    const ids = Array.from({ length: FRAMES }, (_, number) => `yard/s1/${number}`);
    const posted = () => receiver.calls.map(({ body }) => JSON.parse(String(body)));
    await vi.waitFor(
      async () => {
        const flow: Flow = await (await fetch(`${endpoints.console}/api/flow`)).json();
        const shown = Object.fromEntries(flow.stages.map((stage) => [stage.name, stage]));
        const tally = { does: 'Records counted', reads: KAFKA_DETECTIONS_TOPIC, failed: FRAMES };
        expect(shown.tally).toMatchObject(tally);
        expect(shown.tally?.samples.at(-1)?.lag).toBe(0);
        expect(shown.annotate?.samples.at(-1)?.lag).toBe(0);
        expect(shown.tell).toMatchObject({ reads: KAFKA_DETECTIONS_TOPIC, failed: 0 });
        expect(shown.tell?.samples.at(-1)?.lag).toBe(0);
        // A sample may be older than the records.
        expect([...new Set(posted().map(({ id }) => id))].sort()).toEqual(ids);
      },
      { timeout: 60_000, interval: 500 },
    );
    expect(posted().every(({ people }) => people === 1)).toBe(true);
    const { stdout } = await run('packages/recovery/src/audit-command.ts', ['--json'], env);
    // Its records are accounted for, and frames are what they were: annotated, whatever it made of them.
    expect(JSON.parse(stdout)).toMatchObject({
      published: FRAMES,
      annotated: FRAMES,
      missing: [],
      both: [],
      failedRecords: { annotate: 0, tally: FRAMES, tell: 0 },
    });
    const help = await run('packages/recovery/src/failed-command.ts', ['list', '--help']);
    expect(help.stdout).toContain('tally');
    stack.child.kill('SIGINT');
    expect((await stack.exited).code, stack.output.stderr).toBe(0);
  } finally {
    await stack.stop();
  }
  // It was asked to stop, not killed.
  expect(readFileSync(join(dataDir, 'logs/tally.log'), 'utf8')).toContain('tally ends with 0');
});

test('an added stage and an added sink are deployed with functions, mappings, rights, alarms and egress rules', async () => {
  writeFileSync(
    join(root, 'evaluate.ts'),
    `import { evaluate, prepare } from './test/infra/offline/evaluate.ts';
await prepare();
const graph = await evaluate({ stage: 'alice', env: { DEPLOY_CIDRS: '${DEPLOY_CIDR}', COUNTS_URL: '${COUNTS_URL}' } });
console.log(JSON.stringify(graph));`,
  );
  const graph: Graph = JSON.parse((await run('evaluate.ts')).stdout);
  expect(one(graph, 'aws:lambda/function:Function', 'TallyFunction').inputs).toMatchObject({
    memorySize: 512,
    timeout: 60,
  });
  expect(one(graph, 'aws:lambda/eventSourceMapping:EventSourceMapping', 'TallyMapping').inputs).toMatchObject(
    {
      topics: ['detections'],
      amazonManagedKafkaEventSourceConfig: { consumerGroupId: 'frame-consumer-group-tally' },
    },
  );
  const rights = JSON.stringify(one(graph, 'aws:iam/role:Role', 'TallyRole').inputs);
  for (const right of ['topic/KafkaCluster/uuid/detections', '/tallies/*', '/failed/tally/*']) {
    expect(rights).toContain(right);
  }
  const alarms = ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm').map(({ name }) => name);
  expect(alarms).toEqual(
    expect.arrayContaining(['Alarm-TallyLag', 'Alarm-TallyFailed', 'Alarm-TallyErrors']),
  );
  const dashboard: string = one(graph, 'aws:cloudwatch/dashboard:Dashboard', 'Dashboard').inputs
    .dashboardBody;
  for (const named of ['Tally (each minute)', 'frame-consumer-group-tally', 'tally Errors']) {
    expect(dashboard).toContain(named);
  }
  expect(graph.builds.Tally?.bytes).toBeGreaterThan(0);
  expect(
    one(graph, 'aws:lambda/function:Function', 'TellFunction').inputs.environment.variables,
  ).toMatchObject({ COUNTS_URL });
  expect(graph.builds.Tell?.bytes).toBeGreaterThan(0);
  const ways = ofType(graph, 'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule')
    .filter(({ inputs }) => inputs.fromPort === 8443)
    .map(({ inputs }) => inputs.securityGroupId);
  expect(ways).toEqual(['TellGroup']);
});

async function publish(bootstrap: string, topic: string): Promise<void> {
  const settings = {
    KAFKA_BOOTSTRAP_SERVERS: bootstrap,
    KAFKA_AUTH: 'none',
    AWS_REGION: 'us-east-1',
  } as const;
  const producer = orderedProducer(connectKafka('test', { warn() {}, error() {} }, settings));
  await producer.connect();
  const frames = await Promise.all(Array.from({ length: FRAMES }, (_, i) => spotFrame(i)));
  await producer.send({ topic, messages: frames.map(encodeFrame) });
  await producer.disconnect();
}
