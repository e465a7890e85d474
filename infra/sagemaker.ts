import { arnHere } from './arn.ts';
import type { InferenceTarget } from './inference-target.ts';
import { keepLogs } from './logs.ts';
import { reachAws } from './network.ts';
import { createRole, pullsImages } from './roles.ts';
import { GPU_POD } from './scaling.ts';
import { environmentOf, MODEL_VARIABLES } from './settings.ts';
import type { Parts as Inputs } from './stage-function.ts';
import type { Inference } from './stages.ts';

type SageMaker = Exclude<Inference, { backend: 'eks' }>;

interface Parts extends Pick<Inputs, 'stage' | 'network'> {
  inference: SageMaker;
  image: $util.Output<string>;
}

const VARIANT = 'main';
/** Folder of the endpoints' logs, a group for each. */
const LOGS = '/aws/sagemaker/Endpoints';
const WRITES_LOGS = ['CreateLogGroup', 'CreateLogStream', 'DescribeLogStreams', 'PutLogEvents'];
/**
 * Host with NVIDIA's driver 580, for CUDA 13 in the image. By default the instance families have older drivers, with
 * which the container does not start. AWS's default limit for the start is too short for a large model.
 * @see https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
 */
const HOST = {
  inferenceAmiVersion: 'al2023-ami-sagemaker-inference-gpu-4-1',
  containerStartupHealthCheckTimeoutInSeconds: GPU_POD.startSeconds,
};
/** Target of invocations a minute for an instance: a GPU needs about 0.4 s for a batch of 25, and half stays free. */
const INVOCATIONS_PER_INSTANCE = 75;
/**
 * Updates an endpoint's configuration and keeps its number of instances. AWS's provider has no option for that: it
 * would return to the minimum of instances, even under load. The script fails if AWS rolled the update back.
 * @see https://github.com/hashicorp/terraform-provider-aws/issues/48990
 */
const UPDATE = `set -eu
current() { aws sagemaker describe-endpoint --endpoint-name "$ENDPOINT" --query EndpointConfigName --output text; }
if [ "$(current)" != "$CONFIGURATION" ]; then
  aws sagemaker update-endpoint --endpoint-name "$ENDPOINT" --endpoint-config-name "$CONFIGURATION" --retain-all-variant-properties
  aws sagemaker wait endpoint-in-service --endpoint-name "$ENDPOINT"
  [ "$(current)" = "$CONFIGURATION" ] || { echo "$ENDPOINT was rolled back to $(current)" >&2; exit 1; }
fi`;

/** A SageMaker endpoint of the model server's image: on GPU instances, or serverless. */
export function createSageMaker({ stage, inference, network, image }: Parts): InferenceTarget {
  const model = new aws.sagemaker.Model('InferenceModel', {
    executionRoleArn: createExecutionRole().arn,
    primaryContainer: {
      image,
      // SageMaker calls port 8080.
      environment: { HOST: '0.0.0.0', PORT: '8080', ...environmentOf(stage, MODEL_VARIABLES) },
    },
  });
  const configuration = new aws.sagemaker.EndpointConfiguration('InferenceConfiguration', {
    productionVariants: [{ variantName: VARIANT, modelName: model.name, ...capacity(inference) }],
  });
  const scales = inference.backend === 'sagemaker';
  const name = `${$app.name}-${$app.stage}`;
  const endpoint = new aws.sagemaker.Endpoint(
    'InferenceEndpoint',
    { name, endpointConfigName: configuration.name },
    {
      // The endpoint would create its log group without a retention.
      dependsOn: keepLogs(stage, 'InferenceLogs', `${LOGS}/${name}`),
      ignoreChanges: scales ? ['endpointConfigName'] : [],
    },
  );
  if (scales) {
    scale(endpoint, inference.replicas);
    new command.local.Command(
      'InferenceUpdate',
      {
        create: UPDATE,
        environment: {
          AWS_REGION: aws.getRegionOutput().region,
          ENDPOINT: endpoint.name,
          CONFIGURATION: configuration.name,
        },
      },
      { customTimeouts: { create: '90m', update: '90m' } },
    );
  }
  return {
    environment: { INFERENCE_BACKEND: 'sagemaker', SAGEMAKER_ENDPOINT_NAME: endpoint.name },
    permissions: [{ actions: ['sagemaker:InvokeEndpoint'], resources: [endpoint.arn] }],
    allow: (from) => reachAws(network, from),
    metrics: { endpoint: endpoint.name },
  };
}

function capacity(inference: SageMaker) {
  if (inference.backend === 'sagemaker-serverless') {
    const { memoryMb, maxConcurrency } = inference;
    return { serverlessConfig: { memorySizeInMb: memoryMb, maxConcurrency } };
  }
  const { instance: instanceType, replicas } = inference;
  return { instanceType, initialInstanceCount: replicas.min, ...HOST };
}

function scale(endpoint: aws.sagemaker.Endpoint, { min, max }: { min: number; max: number }): void {
  const target = new aws.appautoscaling.Target('InferenceInstances', {
    serviceNamespace: 'sagemaker',
    scalableDimension: 'sagemaker:variant:DesiredInstanceCount',
    resourceId: $interpolate`endpoint/${endpoint.name}/variant/${VARIANT}`,
    minCapacity: min,
    maxCapacity: max,
  });
  new aws.appautoscaling.Policy('InferenceScaling', {
    policyType: 'TargetTrackingScaling',
    serviceNamespace: target.serviceNamespace,
    scalableDimension: target.scalableDimension,
    resourceId: target.resourceId,
    targetTrackingScalingPolicyConfiguration: {
      predefinedMetricSpecification: { predefinedMetricType: 'SageMakerVariantInvocationsPerInstance' },
      targetValue: INVOCATIONS_PER_INSTANCE,
    },
  });
}

function createExecutionRole(): aws.iam.Role {
  return createRole('InferenceRole', 'sagemaker.amazonaws.com', {
    statements: [
      ...pullsImages(),
      // A metric has no narrower resource.
      { actions: ['cloudwatch:PutMetricData'], resources: ['*'] },
      {
        actions: WRITES_LOGS.map((action) => `logs:${action}`),
        resources: [arnHere('logs', `log-group:${LOGS}/*`)],
      },
    ],
  });
}
