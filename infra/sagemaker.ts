import type { InferenceTarget } from './inference-target.ts';
import { type createNetwork, reachAws } from './network.ts';
import { environmentOf, MODEL_VARIABLES } from './settings.ts';
import type { Inference, Stage } from './stages.ts';

type SageMaker = Exclude<Inference, { backend: 'eks' }>;

interface Parts {
  stage: Stage;
  inference: SageMaker;
  network: ReturnType<typeof createNetwork>;
  image: $util.Output<string>;
}

const VARIANT = 'main';
/** Invocations a minute that one instance answers: a batch of 25 takes a GPU about 0.4 s, and half is left free. */
const INVOCATIONS_PER_INSTANCE = 75;

/** A SageMaker endpoint of the model server's image: on GPU instances, or serverless. */
export function createSageMaker({ stage, inference, network, image }: Parts): InferenceTarget {
  const model = new aws.sagemaker.Model('InferenceModel', {
    executionRoleArn: createExecutionRole().arn,
    primaryContainer: {
      image,
      // 8080 is where SageMaker asks.
      environment: { HOST: '0.0.0.0', PORT: '8080', ...environmentOf(stage, MODEL_VARIABLES) },
    },
  });
  const configuration = new aws.sagemaker.EndpointConfiguration('InferenceConfiguration', {
    productionVariants: [{ variantName: VARIANT, modelName: model.name, ...capacity(inference) }],
  });
  const endpoint = new aws.sagemaker.Endpoint('InferenceEndpoint', {
    endpointConfigName: configuration.name,
  });
  if (inference.backend === 'sagemaker') scale(endpoint, inference.replicas);
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
  return { instanceType: inference.instance, initialInstanceCount: inference.replicas.min };
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
  const here = $interpolate`${aws.getRegionOutput().region}:${aws.getCallerIdentityOutput().accountId}`;
  return new aws.iam.Role('InferenceRole', {
    assumeRolePolicy: aws.iam.assumeRolePolicyForPrincipal({ Service: 'sagemaker.amazonaws.com' }),
    inlinePolicies: [
      {
        name: 'inline',
        policy: aws.iam.getPolicyDocumentOutput({
          statements: [
            {
              actions: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
              resources: [$interpolate`arn:aws:ecr:${here}:repository/${$app.name}/*`],
            },
            // A registry token and a metric have no narrower resource.
            { actions: ['ecr:GetAuthorizationToken', 'cloudwatch:PutMetricData'], resources: ['*'] },
            {
              actions: [
                'logs:CreateLogGroup',
                'logs:CreateLogStream',
                'logs:DescribeLogStreams',
                'logs:PutLogEvents',
              ],
              resources: [$interpolate`arn:aws:logs:${here}:log-group:/aws/sagemaker/Endpoints/*`],
            },
          ],
        }).json,
      },
    ],
  });
}
