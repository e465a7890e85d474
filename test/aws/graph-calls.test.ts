import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callsOf, withRealIds } from '../infra/calls.ts';
import { graphOf, ofType } from '../infra/graphs.ts';
import type { Graph, Resource } from '../infra/offline/evaluate.ts';
import { type AnyCall, forBoto, startMoto } from './moto.ts';
import { hasPython } from './python.ts';

/** What moto keeps as AWS does, as far as a stage needs it; of MSK all but the topics, which have a stand-in. */
const SERVICES = [
  ...['cloudwatch', 'ecr', 'ecs', 'events', 'glue', 'iam', 'kafka', 'logs', 's3', 'secretsmanager', 'sns'],
];
/** Calls that moto does not know. */
const UNKNOWN = ['CreateConfiguration', 'PutQueryDefinition'];

describe.skipIf(!(await hasPython()))('moto as a stand-in for AWS', () => {
  let moto: Awaited<ReturnType<typeof startMoto>>;
  let graph: Graph;
  let failed: string[];
  const called = new Set<string>();
  const ask = async (...call: AnyCall) => (await moto.call([call]))[0];
  beforeAll(async () => {
    [moto, graph] = await Promise.all([startMoto(), graphOf('production')]);
    const known = withRealIds(graph)
      .flatMap(callsOf)
      .filter(([api, operation]) => SERVICES.includes(api) && !UNKNOWN.includes(operation));
    // SST's own, for code.
    let calls: AnyCall[] = [
      ['s3', 'CreateBucket', { Bucket: 'sst-asset' }],
      ...(await Promise.all(known.map(forBoto))),
    ];
    const { Subnets } = await ask('ec2', 'DescribeSubnets', {});
    for (const [api, operation, parameters] of calls) {
      called.add(api);
      // AWS makes up the ids of subnets: here those that every account begins with.
      if (operation === 'CreateService')
        Object.assign((parameters as any).networkConfiguration.awsvpcConfiguration, {
          subnets: Subnets.map(({ SubnetId }: any) => SubnetId),
          securityGroups: [],
        });
    }
    // The graph says what waits for what by ids that AWS gives: what can't be made yet is tried again after the rest.
    for (let before = Number.POSITIVE_INFINITY; calls.length < before; ) {
      before = calls.length;
      const answers = await moto.call(calls);
      failed = answers.filter((answer) => typeof answer === 'string');
      calls = calls.filter((_, index) => typeof answers[index] === 'string');
    }
  }, 1_800_000);
  afterAll(() => moto?.stop());

  test('accepts each call that creates a stage', () => {
    expect(failed).toEqual([]);
    expect([...called].sort()).toEqual(SERVICES);
  });

  test("gets three MSK topics with enough replicas and a large enough record size, by MSK's model", async () => {
    const calls = withRealIds(graph)
      .flatMap(callsOf)
      .filter(([, operation]) => operation === 'CreateTopic')
      .filter(([api]) => api === 'kafka');
    const answers = await moto.call(await Promise.all(calls.map(forBoto)));
    expect(answers.map(({ TopicName, Status }) => [TopicName, Status]).sort()).toEqual([
      ['detections', 'CREATING'],
      ['events', 'CREATING'],
      ['video-frames', 'CREATING'],
    ]);
    for (const { Sent, TopicArn, TopicName } of answers) {
      expect(TopicArn).toMatch(new RegExp(`:topic/.*/${TopicName}$`));
      expect(Sent).toMatchObject({ partitionCount: 24, replicationFactor: 3 });
      const configs = JSON.parse(Buffer.from(Sent.configs, 'base64').toString());
      expect(configs).toMatchObject({ 'min.insync.replicas': '2', 'compression.type': 'uncompressed' });
    }
    const [, , parameters] = (await forBoto(calls[0] as Parameters<typeof forBoto>[0])) as any[];
    const refused = await ask('kafka', 'CreateTopic', { ...parameters, PartitionCount: 'many' });
    expect(refused).toContain('Invalid type for parameter PartitionCount');
  });

  test('has for each alarm an existing SNS topic, to which CloudWatch may publish', async () => {
    const { MetricAlarms } = await ask('cloudwatch', 'DescribeAlarms', {});
    const topics = new Set<string>(MetricAlarms.flatMap(({ AlarmActions }: any) => AlarmActions));
    expect(MetricAlarms).toHaveLength(ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm').length);
    expect(topics.size).toBe(1);
    const { Attributes } = await ask('sns', 'GetTopicAttributes', { TopicArn: [...topics][0] });
    const publishers = JSON.parse(Attributes.Policy).Statement.map(({ Principal }: any) => Principal.Service);
    expect(publishers).toContain('cloudwatch.amazonaws.com');
  });

  test('notifies of a batch that Lambda gave up on, and of no other object', async () => {
    const [{ inputs: bucket }] = ofType(graph, 'aws:s3/bucket:Bucket') as [Resource];
    const [{ inputs: topic }] = ofType(graph, 'aws:s3/bucketNotification:BucketNotification') as [Resource];
    const Bucket = bucket.bucket;
    const { topicArn: TopicArn } = topic.topics[0];
    const put = (Key: string): AnyCall => ['s3', 'PutObject', { Bucket, Key, Body: '{}' }];
    const Endpoint = 'arn:aws:sqs:us-east-1:123456789012:people';
    const queue = { QueueUrl: `${moto.url}/123456789012/people`, MaxNumberOfMessages: 10 };
    const Attributes = { RawMessageDelivery: 'true' };
    const answers = await moto.call([
      ['sqs', 'CreateQueue', { QueueName: 'people' }],
      ['sns', 'Subscribe', { TopicArn, Protocol: 'sqs', Endpoint, Attributes }],
      put('failed/detect/video-frames-0-0'),
      ['s3', 'DeleteBucketPolicy', { Bucket }],
      put('failed/detect/video-frames-0-1'),
      put('aws/lambda/batch.json'),
      ['sqs', 'ReceiveMessage', queue],
    ]);
    // The bucket asks for TLS, which moto has not here.
    expect(answers.filter((answer) => typeof answer === 'string')).toEqual([
      expect.stringContaining('(403)'),
    ]);
    const { Messages } = answers.at(-1);
    const told = Messages.map(({ Body }: any) => JSON.parse(Body).Records[0].s3.object.key);
    expect(told.map(decodeURIComponent)).toEqual(['aws/lambda/batch.json']);
  });

  test('gives a task the secret with its cameras and their URLs', async () => {
    const secret = { SecretId: 'video-pipeline/production/ingest1/streams' };
    const { SecretString } = await ask('secretsmanager', 'GetSecretValue', secret);
    expect(JSON.parse(SecretString)).toContainEqual(
      expect.objectContaining({ id: 'yard', url: expect.stringMatching(/^rtsp:/) }),
    );
    const tasks = ofType(graph, 'aws:ecs/taskDefinition:TaskDefinition');
    const { taskDefinitionArns } = await ask('ecs', 'ListTaskDefinitions', {});
    expect(taskDefinitionArns).toHaveLength(tasks.length);
  });
});
