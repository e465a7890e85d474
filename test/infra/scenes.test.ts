import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { followScenes } from '../../functions/src/scene-configs.ts';
import { camerasOf, readCameras } from '../../infra/cameras.ts';
import { searched } from '../../infra/metrics.ts';
import { stageOf } from '../../infra/stages.ts';
import { DEPLOY_CIDR, ofType, one } from './graphs.ts';
import { evaluate, type Graph, prepare } from './offline/evaluate.ts';

const folder = mkdtempSync(join(tmpdir(), 'cameras-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function camerasFile(cameras: object[]): string {
  const file = join(folder, `${cameras.length}.json`);
  writeFileSync(file, JSON.stringify(cameras, null, 2));
  return file;
}

const yard = (polygon: number[][]) => ({ yard: { polygon } });
const scene = {
  zones: yard([
    [0.1, 0.1],
    [0.9, 0.1],
    [0.9, 0.9],
  ]),
  events: [
    { type: 'entered_zone', name: 'intruder', zone: 'yard', classes: ['person'] },
    { type: 'left_zone', name: 'gone', zone: 'yard' },
  ],
};
const DISABLED = 7;
/** Addresses of some of the cameras, and whatever else says by which port they are reached. */
const ODD: Record<string, unknown>[] = [
  { url: 'rtsps://10.64.0.1/a' },
  { url: 'http://10.64.0.2:8081/mjpeg' },
  { url: 'https://10.64.0.3/live.m3u8' },
  { url: 'rtmp://10.64.0.4/live' },
  { url: 'srt://10.64.0.5:9000' },
  { fallback: ['rtsp://10.64.0.6:5540/'] },
  { transport: 'http' },
];
const CAMERAS = Array.from({ length: 200 }, (_, index) => ({
  id: `camera-${index}`,
  url: `rtsp://viewer:secret-${index}@10.64.${index >> 8}.${index & 255}/stream`,
  disabled: index === DISABLED,
  scene,
  ...ODD[index],
}));

let graph: Graph;
beforeAll(async () => {
  await prepare();
  const env = { DEPLOY_CIDRS: DEPLOY_CIDR, CAMERAS_FILE: camerasFile(CAMERAS) };
  graph = await evaluate({ stage: 'production', env });
});

test("environments, tasks, secrets, policies and queries for 200 cameras with scenes are within AWS's limits", () => {
  for (const { inputs, name } of ofType(graph, 'aws:lambda/function:Function'))
    expect(JSON.stringify(inputs.environment.variables).length, name).toBeLessThan(4096);
  const tasks = ofType(graph, 'aws:ecs/taskDefinition:TaskDefinition');
  expect(tasks.length).toBe(20);
  for (const { inputs, name } of tasks) expect(JSON.stringify(inputs).length, name).toBeLessThan(65_536);
  for (const { inputs, name } of ofType(graph, 'aws:secretsmanager/secretVersion:SecretVersion'))
    expect(inputs.secretString.length, name).toBeLessThan(65_536);
  for (const { inputs, name } of ofType(graph, 'aws:cloudwatch/queryDefinition:QueryDefinition')) {
    expect(inputs.logGroupNames, name).toEqual(searched(inputs.logGroupNames));
    // Those of which there is one come before those of the tasks: more than fifty are not searched.
    const first = ['detect', 'annotate', 'notify', 'compact', 'ingest1'];
    const names = first.map((part) => `/video-pipeline/production/${part}`);
    expect(inputs.logGroupNames.slice(0, names.length), name).toEqual(names);
  }
  expect(searched(Array.from({ length: 105 }, (_, group) => `/group/${group}`))).toHaveLength(50);
  const roles = ofType(graph, 'aws:iam/role:Role');
  // A thousand cameras are five times as many.
  expect(5 * roles.length).toBeLessThan(1000);
  for (const { inputs, name } of roles)
    expect(JSON.stringify(inputs.inlinePolicies ?? []).length, name).toBeLessThan(10_240);
  expect(5 * ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm').length).toBeLessThan(5000);
  const [dashboard] = ofType(graph, 'aws:cloudwatch/dashboard:Dashboard');
  const { widgets } = JSON.parse(dashboard?.inputs.dashboardBody);
  expect(widgets.flatMap(({ properties }: any) => properties.metrics).length).toBeLessThan(500);
});

test('detect gets the S3 key of the list of streams, and the list has no passwords', async () => {
  const { variables } = one(graph, 'aws:lambda/function:Function', 'DetectFunction').inputs.environment;
  const list = one(graph, 'aws:s3/bucketObjectv2:BucketObjectv2', 'StoreStreams').inputs;
  expect(variables.STREAMS).toBeUndefined();
  expect(variables.STREAMS_FILE).toMatch(new RegExp(`^s3://[^/]*store[^/]*/${list.key}$`));
  expect(list.content).not.toContain('secret');
  const log = { info: () => {}, error: (message: string) => expect.fail(message) };
  const scenes = await followScenes(variables.STREAMS_FILE, log as never, async () => list.content)();
  expect(scenes.size).toBe(CAMERAS.length);
  expect(Object.keys(scenes.get('camera-199')?.zones ?? {})).toEqual(['yard']);
});

test('a changed scene changes only the list of streams, and no function, task or camera secret', async () => {
  const [first, ...rest] = CAMERAS;
  const zones = yard([
    [0, 0],
    [1, 0],
    [1, 1],
  ]);
  const moved = [{ ...first, scene: { ...scene, zones } }, ...rest];
  const file = join(folder, 'moved.json');
  writeFileSync(file, JSON.stringify(moved));
  const after = await evaluate({
    stage: 'production',
    env: { DEPLOY_CIDRS: DEPLOY_CIDR, CAMERAS_FILE: file },
  });
  const inputs = ({ resources }: Graph) =>
    new Map(resources.map((one) => [`${one.type} ${one.name}`, withoutRandom(JSON.stringify(one.inputs))]));
  const before = inputs(graph);
  const changed = [...inputs(after)]
    .filter(([name, text]) => before.get(name) !== text)
    .map(([name]) => name);
  expect(changed).toEqual(['aws:s3/bucketObjectv2:BucketObjectv2 StoreStreams']);
});

/** Names that SST makes have a random end. */
const withoutRandom = (text: string) => text.replaceAll(/-[abcdefhkmnorstuvwxz]{8}\b/g, '-RANDOM');

test.each([
  [
    {
      ...scene,
      zones: yard([
        [0.1, 0.1],
        [2, 0.1],
        [0.9, 0.9],
      ]),
    },
    /'scene\.zones\.yard/,
  ],
  [{ ...scene, events: [{ type: 'entered_zone', name: 'in', zone: 'yrad' }] }, /yrad/],
  [{ zonse: {} }, /scene/],
])('a scene that detect would reject is rejected at the deploy, with line and field: %j', (broken, named) => {
  const file = join(folder, 'broken.json');
  writeFileSync(file, JSON.stringify([{ id: 'gate', url: 'rtsp://10.64.0.1/', scene: broken }], null, 2));
  expect(() => readCameras(file)).toThrow(named);
  expect(() => readCameras(file)).toThrow(/line \d+/);
});

test.each([
  [{ frame_rate: 0 }, /'frame_rate'/],
  [{ framerate: 5 }, /framerate/],
  [{ transport: 'carrier pigeon' }, /'transport'/],
  [{ region: [0.5, 0, 0.1, 1] }, /'region'/],
  [{ active_hours: 'always' }, /'active_hours'/],
  [{ transport: 'udp' }, /'transport'.*tcp on AWS/],
  [{ transport: 'udp_multicast' }, /'transport'.*tcp on AWS/],
  [{ url: '/clips/yard.mp4' }, /'url'/],
  [{ url: 'file:///clips/yard.mp4' }, /'url'/],
  [{ url: 'udp://@239.1.1.1:1234' }, /'url'/],
  [{ fallback: ['srt://10.64.0.2'] }, /'url'/],
  [{ url: `rtsp://viewer:\${PASSWORD_OF_NOBODY}@10.64.0.1/` }, /PASSWORD_OF_NOBODY/],
])('a field that ingest would reject is rejected at the deploy, with its line: %j', (wrong, named) => {
  const file = join(folder, 'wrong.json');
  writeFileSync(file, JSON.stringify([{ id: 'gate', url: 'rtsp://10.64.0.1/', ...wrong }], null, 2));
  expect(() => readCameras(file)).toThrow(named);
  expect(() => readCameras(file)).toThrow(/line \d+/);
});

test('a deploy of production without CAMERAS_FILE is rejected, and one with an empty list is not', () => {
  const file = join(folder, 'none.yaml');
  writeFileSync(file, '[]');
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv('CAMERAS_FILE', '');
  expect(() => camerasOf(stageOf('production'))).toThrow(/^CAMERAS_FILE is not set: .* 'production'/);
  expect(camerasOf(stageOf('staging'))).toEqual([]);
  vi.stubEnv('CAMERAS_FILE', file);
  expect(camerasOf(stageOf('production'))).toEqual([]);
});

test("the security group of ingest allows egress to the ports of the cameras' URLs, and to RTSP", () => {
  const open = ofType(graph, 'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule')
    .filter(({ name, inputs }) => name.startsWith('IngestTo') && inputs.cidrIpv4)
    .map(({ inputs }) => `${inputs.ipProtocol} ${inputs.fromPort}`);
  // Not 80 for transport 'http': ingest tunnels at the port of the URL.
  const tcp = [322, 443, 554, 1935, 5540, 8081, 8554].map((port) => `tcp ${port}`);
  expect(open.sort()).toEqual([...tcp, 'udp 9000'].sort());
});

test('a disabled camera is deployed without an alarm for its silence', () => {
  const silent = ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm')
    .map(({ name }) => name)
    .filter((name) => name.startsWith('Alarm-Silent-'));
  const others = CAMERAS.filter(({ disabled }) => !disabled).map(({ id }) => `Alarm-Silent-${id}`);
  expect(silent.sort()).toEqual(others.sort());
  const secrets = ofType(graph, 'aws:secretsmanager/secretVersion:SecretVersion').flatMap(({ inputs }) =>
    inputs.secretString.startsWith('[') ? JSON.parse(inputs.secretString) : [],
  );
  expect(secrets.map(({ id }) => id)).toContain(`camera-${DISABLED}`);
});
