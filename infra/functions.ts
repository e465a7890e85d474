import type { VariableName } from '@video-pipeline/config';
import { LOST_BATCHES } from '@video-pipeline/frame';
import type { PipelineStage } from '@video-pipeline/stages';
import functionsPackage from '../functions/package.json' with { type: 'json' };
import picturePackage from '../packages/picture/package.json' with { type: 'json' };
import { createImage } from './images.ts';
import type { KafkaCluster } from './kafka.ts';
import { createLambda } from './lambda.ts';
import { reading, versionsOf } from './secrets.ts';
import { urlOf } from './settings.ts';
import {
  type Environment,
  type Parts,
  type Permissions,
  type StageFunction,
  specify,
} from './stage-function.ts';
import { deployedStages, MAX_RETRIES, maxRecordAgeSeconds, runsAsTasks, type Stage } from './stages.ts';
import { objects } from './storage.ts';
import { createWorkers } from './workers.ts';

export type Functions = ReturnType<typeof createFunctions>;

/** What runs a pipeline stage. */
interface Running {
  /** Undefined for a stage that runs as tasks. */
  fn?: sst.aws.Function;
  logs: { name: $util.Input<string> };
}

/** The stages of the pipeline: Lambda functions, each with its MSK event-source mapping, or tasks. */
export function createFunctions(parts: Parts) {
  // The image of all workers: the poller and every handler.
  const image =
    parts.stage.functions.workers && !$dev
      ? createImage('worker', 'packages/event-source/Dockerfile')
      : undefined;
  const created = deployedStages(parts.stage).map(({ step, size }) => {
    const spec = specify(parts, step, size);
    const { enabledBy = [] } = step;
    const [by] = enabledBy.filter((name) => name in spec.environment || name in spec.secrets);
    /** Variable by which other processes know that this stage is deployed. They see only the host of a secret URL. */
    const switches: Environment = by ? { [by]: spec.environment[by] ?? hostOf(by) } : {};
    const running: Running =
      image && runsAsTasks(parts.stage, step)
        ? createWorkers(parts, spec, image)
        : createFunction(parts, spec);
    return [step.name, { ...running, switches, group: spec.consumerGroup }] as const;
  });
  return Object.fromEntries(created);
}

function hostOf(url: VariableName): string {
  const { protocol, host } = urlOf({ url }) as URL;
  return `${protocol}//${host}`;
}

/** Packages that are installed beside the bundle, in the versions of our package.json files. */
function installed(
  { install, installForVideo }: PipelineStage['lambda'],
  { STORE }: Stage['settings'],
): Record<string, string> {
  const versions: Record<string, string> = {
    ...functionsPackage.dependencies,
    ...picturePackage.dependencies,
  };
  const all = { ...install, ...(STORE === 'video' && installForVideo) };
  return Object.fromEntries(Object.entries(all).map(([name, like]) => [name, versions[like]]));
}

function createFunction(parts: Parts, spec: StageFunction) {
  const { stage, network, kafka, store } = parts;
  const { step, group, size, environment, secrets } = spec;
  const created = createLambda({
    ...size,
    stage,
    part: step.name,
    within: { network, group },
    handler: step.handler.replace(/\.ts$/, '.handler'),
    // The function reads its secrets itself: everyone who may view a function sees its variables.
    environment: { ...environment, ...versionsOf(secrets) },
    permissions: [...spec.permissions, ...reading(secrets), ...pollerPermissions(stage, kafka, store)],
    // Lambda processes one batch of a partition at a time: more concurrency would be idle.
    concurrency: { reserved: stage.kafka.partitions },
    install: installed(step.lambda, stage.settings),
  });
  createMapping(parts, spec, created.fn);
  return created;
}

/** Permissions that the mapping's pollers use through the function's role, beside those for network interfaces. */
function pollerPermissions(stage: Stage, kafka: KafkaCluster, store: sst.aws.Bucket): Permissions {
  return [
    {
      actions: ['kafka:DescribeCluster', 'kafka:DescribeClusterV2'],
      resources: [kafka.arn],
    },
    // AWS supports no narrower resource for these actions.
    {
      actions: ['kafka:GetBootstrapBrokers', 'ec2:DescribeSecurityGroups', 'ec2:DescribeVpcs'],
      resources: ['*'],
    },
    ...(stage.functions.pollers ? [objects(store, 's3:PutObject', [`${LOST_BATCHES}/*`])] : []),
    { actions: ['s3:ListBucket'], resources: [store.arn] },
  ];
}

function createMapping({ stage, kafka, store }: Parts, spec: StageFunction, fn: sst.aws.Function): void {
  const { pollers } = stage.functions;
  new aws.lambda.EventSourceMapping(
    `${spec.name}Mapping`,
    {
      functionName: fn.name,
      eventSourceArn: kafka.arn,
      topics: [spec.topic],
      amazonManagedKafkaEventSourceConfig: { consumerGroupId: spec.consumerGroup },
      startingPosition: 'TRIM_HORIZON',
      batchSize: stage.settings.BATCH_SIZE,
      // Lambda counts whole seconds.
      maximumBatchingWindowInSeconds: Math.ceil(stage.settings.BATCH_TIMEOUT_SECONDS),
      ...(pollers && provisioned(stage, pollers, store)),
    },
    { dependsOn: [fn, ...kafka.topics] },
  );
}

/**
 * A batch that fails is delivered again until shortly before the end of Kafka's retention. Then it is stored whole in
 * the bucket. Without both limits Lambda would give up after ten attempts, and an outage of minutes would lose records.
 * Mappings without provisioned pollers can't set them: they have no destination, and retry without an end.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html
 */
function provisioned(stage: Stage, pollers: { min: number; max: number }, store: sst.aws.Bucket) {
  return {
    provisionedPollerConfig: {
      minimumPollers: pollers.min,
      maximumPollers: pollers.max,
      // All of the stage's mappings share what they pay for.
      pollerGroupName: `${$app.name}-${$app.stage}`,
    },
    bisectBatchOnFunctionError: true,
    maximumRetryAttempts: MAX_RETRIES,
    maximumRecordAgeInSeconds: maxRecordAgeSeconds(stage),
    destinationConfig: { onFailure: { destinationArn: store.arn } },
  };
}
