import { describe, expect, test } from 'vitest';
import { estimate } from '../../infra/costs.ts';
import { quotasOf } from '../../infra/quotas.ts';
import { functionsOf, stageOf, type Workers } from '../../infra/stages.ts';
import { hopsOf } from '../../infra/transfer.ts';
import { graphOf, ofType, one } from './graphs.ts';

/** The container of a task: its image, command and variables. */
async function container(service: string) {
  const graph = await graphOf('thrifty');
  const { inputs } = one(graph, 'aws:ecs/taskDefinition:TaskDefinition', `${service}Task`);
  const [first] = JSON.parse(inputs.containerDefinitions);
  const environment = Object.fromEntries(
    first.environment.map(({ name, value }: { name: string; value: string }) => [name, value]),
  );
  return { ...first, environment };
}

describe('the stage thrifty', () => {
  test("runs detect with annotate as ECS tasks with the project's own poller, without mapping or function", async () => {
    const graph = await graphOf('thrifty');
    const functions = ofType(graph, 'aws:lambda/function:Function').map(({ name }) => name);
    expect(functions).not.toContain('DetectFunction');
    expect(functions).toContain('NotifyFunction');
    expect(ofType(graph, 'aws:lambda/eventSourceMapping:EventSourceMapping').map(({ name }) => name)).toEqual(
      ['NotifyMapping'],
    );
    const { command, environment, mountPoints, readonlyRootFilesystem, image } = await container('Detect');
    expect(image).toContain('/worker@');
    expect(command).toEqual([
      'packages/event-source/src/main.ts',
      '--handler=functions/src/detect.ts',
      '--topic=video-frames',
      '--group=frame-consumer-group',
      '--batch-size=100',
      '--window=10',
      '--concurrency=2',
      '--timeout=120',
      expect.stringMatching(/^--on-failure=s3:\/\/.+\/aws\/lambda$/),
      '--max-retries=10000',
      // Half an hour before Kafka forgets.
      '--max-age=5400',
      '--notes=/tmp/in-progress',
    ]);
    expect(readonlyRootFilesystem).toBe(true);
    expect(mountPoints).toEqual([{ sourceVolume: 'tmp', containerPath: '/tmp' }]);
    expect(environment).toMatchObject({ PICTURES: 'once', STORE: 'archive', KAFKA_AUTH: 'iam' });
    expect(environment.S3_BUCKET).toBeTruthy();
    expect(environment.INFERENCE_SERVICE_URL).toBeTruthy();
  });

  test('keeps its number of detect tasks at a deploy, and starts tasks after the topics exist', async () => {
    const service = one(await graphOf('thrifty'), 'aws:ecs/service:Service', 'DetectService');
    expect(service.ignoreChanges).toEqual(['desiredCount']);
    expect(service.dependsOn).toEqual(
      expect.arrayContaining(['KafkaTopic-video-frames', 'DetectClusterCapacityProviders']),
    );
  });

  test('scales detect tasks by CPU, on Fargate Spot, with IAM rights for the brokers', async () => {
    const graph = await graphOf('thrifty');
    const target = one(graph, 'aws:appautoscaling/target:Target', 'DetectAutoScalingTarget').inputs;
    expect(target).toMatchObject({ minCapacity: 3, maxCapacity: 300 });
    const { capacityProviderStrategies, enableExecuteCommand, networkConfiguration } = one(
      graph,
      'aws:ecs/service:Service',
      'DetectService',
    ).inputs;
    const weights = capacityProviderStrategies.map((one: any) => [one.capacityProvider, one.weight]);
    expect(Object.fromEntries(weights)).toEqual({ FARGATE: 0, FARGATE_SPOT: 1 });
    expect(enableExecuteCommand).toBe(false);
    expect(networkConfiguration).toMatchObject({ assignPublicIp: false, securityGroups: ['DetectGroup'] });
    const policy = JSON.stringify(one(graph, 'aws:iam/role:Role', 'DetectTaskRole').inputs.inlinePolicies);
    for (const needed of [
      'kafka-cluster:ReadData',
      'kafka-cluster:AlterGroup',
      'kafka-cluster:WriteData',
      'failed/detect/*',
      'failed/annotate/*',
      'failed/event-source/*',
      'aws/lambda/*',
      's3:ListBucket',
    ])
      expect(policy, needed).toContain(needed);
    expect(policy).not.toContain(':*\\"');
    const rules = ofType(graph, 'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule');
    expect(rules.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['DetectToKafka9098', 'DetectToEndpoints443', 'DetectToS3']),
    );
  });

  test("keeps frames in their zone by KAFKA_RACK, the brokers' replica selector and the load balancer", async () => {
    const graph = await graphOf('thrifty');
    const racks = 'us-east-1a=zone-1,us-east-1c=zone-2,us-east-1d=zone-3';
    expect((await container('Detect')).environment.KAFKA_RACK).toBe(racks);
    expect((await container('Ingest1')).environment.KAFKA_RACK).toBe(racks);
    const { serverProperties } = one(
      graph,
      'aws:msk/configuration:Configuration',
      'KafkaConfiguration',
    ).inputs;
    expect(serverProperties).toContain(
      'replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector',
    );
    const { annotations } = one(graph, 'kubernetes:core/v1:Service', 'KubernetesService').inputs.metadata;
    expect(annotations['service.beta.kubernetes.io/aws-load-balancer-attributes']).toBe(
      'load_balancing.cross_zone.enabled=false,dns_record.client_routing_policy=availability_zone_affinity',
    );
  });

  test('has alarms for lag and dead letters of detect, and none for functions that it lacks', async () => {
    const graph = await graphOf('thrifty');
    const alarms = ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm').map(({ name }) => name);
    expect(alarms).toEqual(
      expect.arrayContaining([
        'Alarm-DetectLag',
        'Alarm-DetectFailed',
        'Alarm-AnnotateFailed',
        'Alarm-LostBatches',
      ]),
    );
    // What our own poller puts there no stage counts as its own.
    const poller = one(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm', 'Alarm-PollerFailed').inputs;
    expect(poller.metricQueries[0].expression).toContain("WHERE service = 'event-source'");
    expect(poller.alarmDescription).toContain('See docs/runbooks.md#stagefailed.');
    const production = ofType(await graphOf('production'), 'aws:cloudwatch/metricAlarm:MetricAlarm');
    expect(production.map(({ name }) => name)).not.toContain('Alarm-PollerFailed');
    expect(alarms).not.toContain('Alarm-DetectErrors');
    const body = one(graph, 'aws:cloudwatch/dashboard:Dashboard', 'Dashboard').inputs.dashboardBody;
    expect(body).not.toContain('"FunctionName",""');
  });

  test('pays for no traffic between zones, and production pays for each hop', () => {
    expect(hopsOf(stageOf('thrifty')).filter(({ share }) => share > 0)).toEqual([]);
    expect(hopsOf(stageOf('production')).map(({ share }) => share)).toEqual(Array(6).fill(2 / 3));
    // A mapping has no setting for the nearest replica.
    const { functions, ...thrifty } = stageOf('thrifty');
    const { workers: _none, ...lambda } = functions;
    expect(hopsOf({ ...thrifty, functions: lambda }).filter(({ share }) => share > 0)).toEqual([
      { hop: 'Kafka to detect', share: 2 / 3 },
    ]);
    const items = (name: string) => estimate(stageOf(name)).items.map(({ item }) => item);
    expect(items('production')).toContain('transfer between zones');
    expect(items('thrifty')).not.toContain('transfer between zones');
    expect(items('thrifty')).toContain('workers (spot)');
  });

  test('has a cost estimate with at least the minimum number of tasks', () => {
    const thrifty = stageOf('thrifty');
    const usd = (streams: number, min: number) => {
      const workers = { ...thrifty.functions.workers, tasks: { min, max: 300 } } as Workers;
      const stage = { ...thrifty, functions: { workers }, load: { ...thrifty.load, streams } };
      return estimate(stage).items.find(({ item }) => item.startsWith('workers'))?.usd ?? 0;
    };
    expect(usd(1, 6)).toBeCloseTo(2 * usd(1, 3), 5);
    expect(usd(1_000, 6)).toBe(usd(1_000, 3));
  });

  test('needs a quota of Fargate Spot vCPUs for all its tasks', () => {
    const [stage, plain] = [stageOf('thrifty'), stageOf('production')];
    const spot = (of: typeof stage) =>
      quotasOf(of, 20).find(({ name }) => name.startsWith('Fargate Spot'))?.need ?? 0;
    expect(functionsOf(stage)).toEqual(['notify']);
    expect(spot(plain)).toBe(0);
    // Two tasks of ingest with two vCPUs each, and the workers.
    expect(spot(stage)).toBe(4 + 300);
  });
});
