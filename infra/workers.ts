import { LOST_BATCHES, POLLER } from '@video-pipeline/frame';
import { createCluster, createService } from './ecs.ts';
import { logGroupName } from './logs.ts';
import { connect, reachAws } from './network.ts';
import { KAFKA_IAM_PORT } from './settings.ts';
import { kafkaEnvironment, nearestRack, type Parts, type StageFunction } from './stage-function.ts';
import { CPU_TARGET, MAX_RETRIES, maxRecordAgeSeconds, type Workers } from './stages.ts';
import { objects } from './storage.ts';

/** Batches that a task processes at a time for each vCPU: one waits for the model while the other is drawn. */
const BATCHES_PER_VCPU = 2;

/**
 * Tasks on Fargate that do the work of a stage. The poller of packages/event-source reads Kafka in place of a mapping,
 * and runs the same handler in its own process.
 */
export function createWorkers(parts: Parts, spec: StageFunction, image: $util.Output<string>) {
  const { stage, network, kafka, store } = parts;
  const { name, step, group } = spec;
  const { cpu, memory, tasks, capacity } = stage.functions.workers as Workers;
  connect(group, kafka.group, KAFKA_IAM_PORT);
  reachAws(network, group);
  const logs = logGroupName(step.name);
  createService(name, {
    stage,
    logs,
    cluster: createCluster(network, group, { name: `${name}Cluster` }),
    wait: true,
    // A poller exits if its topic is missing, and ECS gives up after a few exits.
    after: kafka.topics,
    cpu,
    memory,
    spot: capacity === 'spot',
    scaling: { ...tasks, cpuUtilization: CPU_TARGET, memoryUtilization: false },
    image,
    command: command(parts, spec, Number.parseFloat(cpu)),
    environment: {
      ...kafkaEnvironment(stage, kafka),
      ...nearestRack(stage),
      ...spec.environment,
      AWS_REGION: aws.getRegionOutput().region,
    },
    secrets: spec.secrets,
    permissions: [
      ...spec.permissions,
      objects(store, 's3:GetObject', [`failed/${POLLER}/*`]),
      objects(store, 's3:PutObject', [`${LOST_BATCHES}/*`, `failed/${POLLER}/*`]),
      { actions: ['s3:ListBucket'], resources: [store.arn] },
    ],
    tmp: true,
  });
  return { logs: { name: logs } };
}

/** Arguments of `node` in the image: the poller, with the limits that the stage's mapping would have. */
function command({ stage, store }: Parts, spec: StageFunction, vcpus: number): $util.Input<string>[] {
  const { BATCH_SIZE, BATCH_TIMEOUT_SECONDS } = stage.settings;
  const options: Record<string, $util.Input<string | number>> = {
    handler: spec.step.handler,
    topic: spec.topic,
    group: spec.consumerGroup,
    'batch-size': BATCH_SIZE,
    window: BATCH_TIMEOUT_SECONDS,
    concurrency: vcpus * BATCHES_PER_VCPU,
    timeout: spec.size.timeoutSeconds,
    'on-failure': $interpolate`s3://${store.name}/${LOST_BATCHES}`,
    'max-retries': MAX_RETRIES,
    'max-age': maxRecordAgeSeconds(stage),
    // The only folder that can be written to.
    notes: '/tmp/in-progress',
  };
  const given = Object.entries(options).map(([name, value]) => $interpolate`--${name}=${value}`);
  return ['packages/event-source/src/main.ts', ...given];
}
