import { variables } from '@video-pipeline/config';
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { DEPLOYMENT_VARIABLES, type Given, SETTABLE, settingsOf, urlOf } from '../../infra/settings.ts';
import { type Row, rows, stageOf } from '../../infra/stages.ts';
import { OTHER_VALUES } from '../support/other-values.ts';
import { DEPLOY_CIDR, ofType, one } from './graphs.ts';
import { type Evaluation, evaluate, type Graph, prepare } from './offline/evaluate.ts';

/** Something else than the default, of every variable that a stage may set. */
const OTHER = Object.fromEntries(
  Object.entries<string | number>(OTHER_VALUES).filter(([name]) =>
    (SETTABLE as readonly string[]).includes(name),
  ),
) as Required<Given>;

/** What the deploy makes itself, keeps as a secret, or takes from its shell alone; and what is of one machine alone. */
const NOT_OF_A_STAGE: string[] = [
  ...DEPLOYMENT_VARIABLES,
  ...['KAFKA_BOOTSTRAP_SERVERS', 'KAFKA_AUTH', 'INFERENCE_BACKEND', 'INFERENCE_SERVICE_URL'],
  // Of `npm run deploy -- canary`, which is over in half an hour.
  'INFERENCE_CANARY_URL',
  ...['SAGEMAKER_ENDPOINT_NAME', 'EVENT_BUS_NAME', 'S3_BUCKET', 'HOST'],
  ...['STREAMS', 'STREAMS_FILE', 'METRICS_NAMESPACE', 'SHUTDOWN_GRACE_SECONDS'],
  ...['CONSOLE_TOKEN', 'CONSOLE_TOKEN_FILE', 'CONSOLE_URL'],
  // The deploy knows the racks of its zones.
  'KAFKA_RACK',
  // OpenVINO is in no image that a stage deploys; ingest in AWS has many addresses, and its state in CloudWatch.
  ...['INFERENCE_PRECISION', 'INGEST_URL'],
  // On AWS the same counts go to CloudWatch.
  'METRICS_PORT',
  // A stage's cameras are watched in the console; nobody reaches the task's ports.
  ...['RESTREAM_PORT', 'RESTREAM_USER'],
  ...['AWS_ENDPOINT_URL', 'MAX_FRAMES'],
  // Files of one machine: an image names its own.
  ...['MODEL_PATH', 'MODEL_DIR'],
];

test('each variable of the configuration is a setting of a stage, or is listed as none', () => {
  expect([...SETTABLE, ...NOT_OF_A_STAGE].sort()).toEqual(
    expect.arrayContaining(Object.keys(variables).sort()),
  );
  expect(SETTABLE.filter((name) => NOT_OF_A_STAGE.includes(name))).toEqual([]);
  expect(Object.keys(OTHER).sort()).toEqual([...SETTABLE].sort());
});

test('an invalid setting is rejected with its name, and the shell overrides the row of the stage', () => {
  expect(() => settingsOf({ FRAME_RATE: 0 }, {})).toThrow(/^FRAME_RATE /);
  expect(() => settingsOf({}, { BATCH_SIZE: 'many' })).toThrow(/^BATCH_SIZE /);
  expect(settingsOf({ FRAME_RATE: 5 }, { FRAME_RATE: '2' }).FRAME_RATE).toBe(2);
  expect(settingsOf({}, { FRAME_RATE: '' }).FRAME_RATE).toBe(10);
});

test('a receiver URL whose scheme has no default port is rejected without a port, and the error hides the URL', () => {
  onTestFinished(() => void vi.unstubAllEnvs());
  // Any variable that takes a text.
  const receiver = { url: 'SAGEMAKER_ENDPOINT_NAME' } as const;
  vi.stubEnv(receiver.url, 'postgres://db.example/token');
  expect(() => urlOf(receiver)).toThrow(
    /^SAGEMAKER_ENDPOINT_NAME must name its port: that of postgres: is not known$/,
  );
  vi.stubEnv(receiver.url, 'postgres://db.example:5432/token');
  expect(urlOf(receiver)?.port).toBe('5432');
});

const { name: _name, tags: _tags, settings: _settings, ...hosted } = stageOf('production');
const row: Row = {
  ...hosted,
  console: { domain: 'cameras.example.com', allowedCidrs: ['203.0.113.0/24'] },
};
const shell = Object.fromEntries(Object.entries(OTHER).map(([name, value]) => [name, String(value)]));

/** Whether a row says it or the shell does. */
const WAYS: [string, Pick<Evaluation, 'row' | 'env'>][] = [
  ['the row of the stage', { row: { ...row, settings: OTHER } }],
  ['the deploying shell', { row, env: shell }],
];

const { MQTT_URL = '', MQTT_USERNAME = '', MQTT_PASSWORD = '', MQTT_TOPIC_PREFIX = '' } = OTHER_VALUES;
const MQTT = { MQTT_URL, MQTT_USERNAME, MQTT_PASSWORD, MQTT_TOPIC_PREFIX } as Record<string, string>;

describe.each(WAYS)('the settings of %s are deployed', (_, way) => {
  let graph: Graph;
  beforeAll(async () => {
    await prepare();
    const env = { DEPLOY_CIDRS: DEPLOY_CIDR, CAMERAS_FILE: 'test/infra/cameras.yaml', ...MQTT, ...way.env };
    graph = await evaluate({ ...way, stage: 'set', env });
  });

  test('in the mappings, topics and ports', () => {
    const { inputs } = one(graph, 'aws:lambda/eventSourceMapping:EventSourceMapping', 'DetectMapping');
    expect(inputs).toMatchObject({
      batchSize: 50,
      maximumBatchingWindowInSeconds: 2,
      topics: ['pictures'],
      amazonManagedKafkaEventSourceConfig: { consumerGroupId: 'readers' },
    });
    const topics = ofType(graph, 'aws:msk/topic:Topic').map(({ inputs }) => inputs.name);
    expect(topics.sort()).toEqual(['pictures', 'seen', 'told']);
    expect(one(graph, 'kubernetes:core/v1:Service', 'KubernetesService').inputs.spec.ports[0].port).toBe(
      8001,
    );
  });

  test('MQTT settings only in the functions that publish by MQTT', () => {
    const functions = ofType(graph, 'aws:lambda/function:Function');
    const given = functions.filter(({ inputs }) => 'MQTT_PASSWORD' in inputs.environment.variables);
    // Pictures travel once here: detect annotates.
    expect(given.map(({ name }) => name).sort()).toEqual(['DetectFunction', 'NotifyFunction']);
    for (const { inputs } of given)
      expect(inputs.environment.variables).toMatchObject({ MQTT_URL, MQTT_TOPIC_PREFIX });
    const ways = ofType(graph, 'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule')
      .filter(({ inputs }) => inputs.fromPort === 8884)
      .map(({ inputs }) => [inputs.cidrIpv4, inputs.toPort]);
    expect(ways).toEqual([
      ['0.0.0.0/0', 8884],
      ['0.0.0.0/0', 8884],
    ]);
  });

  test('with MAX_LATENCY_SECONDS, in the Kafka rights of ingest', () => {
    const roles = ofType(graph, 'aws:iam/role:Role').filter(({ name }) => /^Ingest\dTaskRole$/.test(name));
    expect(roles.length).toBeGreaterThan(0);
    for (const { inputs } of roles) {
      const policy = JSON.stringify(inputs.inlinePolicies);
      expect(policy).toMatch(/\/readers\\"/);
      expect(policy).not.toContain('readers-annotate');
      expect(policy).toContain('kafka-cluster:DescribeGroup');
      expect(policy).not.toContain('AlterGroup');
    }
  });

  test('with PICTURES=once, in detect, which annotates, too', () => {
    const functions = ofType(graph, 'aws:lambda/function:Function');
    expect(functions.map(({ name }) => name)).not.toContain('AnnotateFunction');
    const { inputs } = one(graph, 'aws:lambda/function:Function', 'DetectFunction');
    expect(inputs.memorySize).toBe(1769);
    expect(inputs.environment.variables).toMatchObject({ PICTURES: 'once', STORE: OTHER.STORE });
    const [{ policy }] = one(graph, 'aws:iam/role:Role', 'DetectRole').inputs.inlinePolicies;
    const may = (action: string) =>
      JSON.parse(policy)
        .Statement.filter(({ Action }: { Action: string | string[] }) => [Action].flat().includes(action))
        .flatMap(({ Resource }: { Resource: string | string[] }) => Resource)
        .join(' ');
    for (const folder of ['failed/detect', 'failed/annotate', 'detections', 'drawn', 'events'])
      expect(may('s3:PutObject'), folder).toContain(`/${folder}/*`);
    // A record that fails again finds its entry there.
    for (const folder of ['failed/detect', 'failed/annotate'])
      expect(may('s3:GetObject'), folder).toContain(`/${folder}/*`);
  });

  const valuesOf = (environment: { name: string; value: string }[]): Record<string, string> =>
    Object.fromEntries(environment.map(({ name, value }) => [name, value]));

  test('in the processes that read them, each variable in at least one', () => {
    const functions = ofType(graph, 'aws:lambda/function:Function').map(
      ({ inputs }) => inputs.environment.variables,
    );
    const tasks = ofType(graph, 'aws:ecs/taskDefinition:TaskDefinition').flatMap(({ inputs }) =>
      JSON.parse(inputs.containerDefinitions).map(({ environment }: any) => valuesOf(environment)),
    );
    const model = ofType(graph, 'kubernetes:apps/v1:Deployment').map(({ inputs }) =>
      valuesOf(inputs.spec.template.spec.containers[0].env),
    );
    const given = [...functions, ...tasks, ...model];
    const ofMappingAlone = ['BATCH_SIZE', 'BATCH_TIMEOUT_SECONDS'];
    for (const [name, value] of Object.entries(shell)) {
      const values = given.flatMap((environment) => environment[name] ?? []);
      if (!ofMappingAlone.includes(name)) expect(values.length, name).toBeGreaterThan(0);
      for (const one of values) expect(one, name).toBe(value);
    }
  });
});

test('egress rules of NAT instances and their clients include the ports of the webhook, MQTT and OTLP URLs', async () => {
  const env = { DEPLOY_CIDRS: DEPLOY_CIDR, MQTT_URL: 'mqtts://broker.example.com' };
  const named = {
    WEBHOOK_URL: 'https://hooks.example.com:8443/',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://otel:4318',
  };
  const graph = await evaluate({ stage: 'mine', env: { ...env, ...named } });
  const ports = (part: string) =>
    ofType(graph, 'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule')
      .filter(({ inputs }) => inputs.securityGroupId === part && inputs.cidrIpv4 === '0.0.0.0/0')
      .map(({ inputs }) => inputs.fromPort);
  expect(ports('NotifyGroup').sort()).toEqual([4318, 443, 8443, 8883]);
  expect(ports('AnnotateGroup').sort()).toEqual([4318, 8883]);
  const nat = one(graph, 'aws:ec2/securityGroup:SecurityGroup', 'NetworkNatInstanceSecurityGroup');
  const out = nat.inputs.egress.map(({ toPort }: { toPort: number }) => toPort);
  expect(out.sort()).toEqual([4318, 443, 8443, 8883, 9098]);
});

test('the load of a stage, and so its cost estimate, uses its FRAME_RATE', () => {
  rows.slow = { ...row, settings: { FRAME_RATE: 5 } };
  expect(stageOf('slow').load.frameRate).toBe(5);
  delete rows.slow;
});
