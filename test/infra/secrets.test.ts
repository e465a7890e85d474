import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { graphOf, ofType, one, SECRETS } from './graphs.ts';
import type { Graph } from './offline/evaluate.ts';

const SECRET = 'aws:secretsmanager/secret:Secret';
const VERSION = 'aws:secretsmanager/secretVersion:SecretVersion';

/** Of a camera in cameras.yaml, beside what the deploying shell has. */
const OF_CAMERA = 'viewer:secret@10.64.0.11';
const PLANTED = [...Object.values(SECRETS), OF_CAMERA];
/** As it may stand somewhere: as it is, in a URL, in base64. */
const formsOf = (secret: string) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64').replace(/=+$/, ''),
];

/** The ARN of a secret's version, as the graph's mocks give it. */
const versionOf = (stage: string, path: string) =>
  `arn:aws:secretsmanager:us-east-1:123456789012:secret:video-pipeline/${stage}/${path}-AbCdEf:::version`;
const given = (stage: string, names: string[]) =>
  Object.fromEntries(names.map((name) => [name, versionOf(stage, name)]));
const MQTT = ['MQTT_USERNAME', 'MQTT_PASSWORD'];
const WEBHOOK = ['WEBHOOK_URL', 'WEBHOOK_SECRET'];

/** What a resource, a component, an output or a bundle shows, but for the values in Secrets Manager. */
function shown({ resources, outputs, builds, app }: Graph): [name: string, text: string][] {
  return [
    ['the outputs', JSON.stringify([outputs, app])],
    ...resources.map((resource): [string, string] => {
      const { secretString: _, ...inputs } = resource.inputs;
      const visible = resource.type === VERSION ? { ...resource, inputs } : resource;
      return [`${resource.type} ${resource.name}`, JSON.stringify(visible)];
    }),
    ...Object.entries(builds).map(([name, { file }]): [string, string] => [
      `the bundle of ${name}`,
      readFileSync(file, 'utf8'),
    ]),
  ];
}

describe.each(['hosted', 'thrifty'] as const)('the secrets of %s', (deployed) => {
  test('are stored only in Secrets Manager, and are encrypted in the state', async () => {
    const graph = await graphOf(deployed);
    const kept = ofType(graph, VERSION);
    const values = Object.fromEntries(kept.map(({ name, inputs }) => [name, inputs.secretString]));
    for (const [name, value] of Object.entries(SECRETS)) expect(values[`Secret-${name}Version`]).toBe(value);
    expect(values.Ingest1StreamsVersion).toContain(OF_CAMERA);
    for (const { name, secrets } of kept) expect(secrets, name).toEqual(['secretString']);
    const found = shown(graph).flatMap(([name, text]) =>
      PLANTED.flatMap(formsOf).some((form) => text.includes(form)) ? [name] : [],
    );
    expect(found).toEqual([]);
  });

  test('are deleted without a recovery window, so that their names can be used again', async () => {
    for (const { inputs, name } of ofType(await graphOf(deployed), SECRET)) {
      expect(inputs.recoveryWindowInDays, name).toBe(0);
      // AWS's own key: one of ours would need its own permissions.
      expect(inputs.kmsKeyId, name).toBeUndefined();
    }
  });
});

test('each function gets the version ids of only the secrets that it needs', async () => {
  const graph = await graphOf('hosted');
  for (const { name, inputs } of ofType(graph, 'aws:lambda/function:Function')) {
    const needed = { NotifyFunction: [...MQTT, ...WEBHOOK], AnnotateFunction: MQTT }[name] ?? [];
    const variables: Record<string, string> = inputs.environment.variables;
    const told = Object.entries(variables).filter(([, value]) => value.includes(':secretsmanager:'));
    expect(Object.fromEntries(told), name).toEqual(given('hosted', needed));
    if (needed.length === 0) continue;
    // It is loaded when the first secret is read: a bundle without it would load.
    const bundle = readFileSync(graph.builds[name.replace(/Function$/, '')]?.file ?? '', 'utf8');
    const outside = /(?:from|import\()\s*["']@aws-sdk\/client-[\w-]+["']/g;
    expect(bundle.match(outside), name).toBeNull();
  }
});

test('ECS injects the secrets of a task, and only the execution role may read them', async () => {
  const graph = await graphOf('thrifty');
  const of = (task: string) => {
    const { containerDefinitions } = one(graph, 'aws:ecs/taskDefinition:TaskDefinition', task).inputs;
    const [{ secrets }] = JSON.parse(containerDefinitions);
    return Object.fromEntries(secrets.map(({ name, valueFrom }: any) => [name, valueFrom]));
  };
  expect(of('DetectTask')).toEqual(given('thrifty', MQTT));
  expect(of('Ingest1Task')).toEqual({ STREAMS: versionOf('thrifty', 'ingest1/streams') });
  const readable = (role: string) =>
    [...JSON.stringify(one(graph, 'aws:iam/role:Role', role).inputs).matchAll(/secret:[\w/-]+/g)].map(String);
  expect(readable('DetectExecutionRole')).toEqual(
    MQTT.map((name) => `secret:video-pipeline/thrifty/${name}-AbCdEf`),
  );
  expect(readable('DetectTaskRole')).toEqual([]);
});
