import type { InferenceTarget } from './inference.ts';
import { type KafkaCluster, kafkaArn, kafkaStatement } from './kafka.ts';
import { createKubeconfig } from './kubeconfig.ts';
import { type KubernetesObject, manifests, NAMESPACE, SERVICE } from './kubernetes.ts';
import { connect, createGroup, type createNetwork, reachAws } from './network.ts';
import { deployment, KAFKA_IAM_PORT, pipeline, VPC_CIDR } from './settings.ts';
import type { Inference, Stage } from './stages.ts';

interface Parts {
  stage: Stage;
  inference: Extract<Inference, { backend: 'eks' }>;
  network: ReturnType<typeof createNetwork>;
  kafka: KafkaCluster;
  image: $util.Output<string>;
}

const KUBERNETES_VERSION = '1.33';
const KEDA_VERSION = '2.18.0';
const KEDA_NAMESPACE = 'keda';

/** An EKS cluster in Auto Mode that runs the model server on GPU nodes behind an internal load balancer. */
export function createEks({ stage, inference, network, kafka, image }: Parts): InferenceTarget {
  const cluster = createCluster(stage, network);
  const nodes = { name: 'Nodes', id: cluster.vpcConfig.clusterSecurityGroupId };
  const loadBalancer = createGroup(network.vpc, 'Inference');
  connect(loadBalancer, nodes, pipeline.PORT);
  // KEDA asks the brokers for the group's lag.
  connect(nodes, kafka.group, KAFKA_IAM_PORT);
  if (network.endpointGroup) reachAws(network, nodes);

  const provider = new kubernetes.Provider('Kubernetes', { kubeconfig: createKubeconfig(cluster) });
  const keda = inference.autoscaler === 'keda' ? installKeda(cluster, kafka, provider) : undefined;
  const objects = $resolve({
    image,
    loadBalancerGroup: loadBalancer.id,
    bootstrapServers: kafka.bootstrapServers,
    region: aws.getRegionOutput().region,
  }).apply(({ image, loadBalancerGroup, bootstrapServers, region }) =>
    manifests({
      image,
      inference,
      loadBalancerGroup,
      clientCidr: VPC_CIDR,
      kafka: { bootstrapServers, region },
    }),
  );
  const service = applyAll(objects, { provider, dependsOn: keda ? [keda] : [] });
  return {
    environment: {
      INFERENCE_BACKEND: 'http',
      INFERENCE_SERVICE_URL: $interpolate`http://${service}:${pipeline.PORT}`,
    },
    permissions: [],
    allow: (from) => connect(from, loadBalancer, pipeline.PORT),
    metrics: { eksCluster: cluster.name },
  };
}

function createCluster(stage: Stage, network: ReturnType<typeof createNetwork>): aws.eks.Cluster {
  const { DEPLOY_CIDRS } = deployment();
  if (!DEPLOY_CIDRS) {
    throw new Error(
      `DEPLOY_CIDRS is not set: stage '${stage.name}' has a Kubernetes API, which must know who may call it`,
    );
  }
  const clusterRole = createRole('InferenceClusterRole', 'eks.amazonaws.com', [
    'AmazonEKSClusterPolicy',
    'AmazonEKSComputePolicy',
    'AmazonEKSBlockStoragePolicy',
    'AmazonEKSLoadBalancingPolicy',
    'AmazonEKSNetworkingPolicy',
  ]);
  const nodeRole = createRole('InferenceNodeRole', 'ec2.amazonaws.com', [
    'AmazonEKSWorkerNodeMinimalPolicy',
    'AmazonEC2ContainerRegistryPullOnly',
  ]);
  const cluster = new aws.eks.Cluster('InferenceCluster', {
    name: `${$app.name}-${$app.stage}`,
    version: KUBERNETES_VERSION,
    roleArn: clusterRole.arn,
    bootstrapSelfManagedAddons: false,
    deletionProtection: stage.protect,
    accessConfig: { authenticationMode: 'API', bootstrapClusterCreatorAdminPermissions: true },
    computeConfig: { enabled: true, nodePools: ['general-purpose', 'system'], nodeRoleArn: nodeRole.arn },
    kubernetesNetworkConfig: { elasticLoadBalancing: { enabled: true } },
    storageConfig: { blockStorage: { enabled: true } },
    enabledClusterLogTypes: ['api', 'audit', 'authenticator'],
    vpcConfig: {
      subnetIds: network.vpc.privateSubnets,
      endpointPrivateAccess: true,
      endpointPublicAccess: true,
      publicAccessCidrs: DEPLOY_CIDRS,
    },
  });
  watch(cluster);
  return cluster;
}

/** A role for an AWS service with the policies that AWS keeps for it. */
function createRole(name: string, service: string, policies: string[]): aws.iam.Role {
  return new aws.iam.Role(name, {
    assumeRolePolicy: aws.iam.getPolicyDocumentOutput({
      statements: [
        {
          // Auto Mode tags the sessions of the cluster's role.
          actions:
            service.startsWith('eks') || service.startsWith('pods')
              ? ['sts:AssumeRole', 'sts:TagSession']
              : ['sts:AssumeRole'],
          principals: [{ type: 'Service', identifiers: [service] }],
        },
      ],
    }).json,
    managedPolicyArns: policies.map((policy) => `arn:aws:iam::aws:policy/${policy}`),
  });
}

/** Container Insights: the pods' logs, and GPU, CPU and memory by pod. */
function watch(cluster: aws.eks.Cluster): void {
  const role = createRole('InferenceInsightsRole', 'pods.eks.amazonaws.com', ['CloudWatchAgentServerPolicy']);
  new aws.eks.Addon('InferenceInsights', {
    clusterName: cluster.name,
    addonName: 'amazon-cloudwatch-observability',
    podIdentityAssociations: [{ serviceAccount: 'cloudwatch-agent', roleArn: role.arn }],
  });
  new aws.eks.Addon('InferenceMetrics', { clusterName: cluster.name, addonName: 'metrics-server' });
}

function installKeda(cluster: aws.eks.Cluster, kafka: KafkaCluster, provider: kubernetes.Provider) {
  const role = new aws.iam.Role('KedaRole', {
    assumeRolePolicy: aws.iam.getPolicyDocumentOutput({
      statements: [
        {
          actions: ['sts:AssumeRole', 'sts:TagSession'],
          principals: [{ type: 'Service', identifiers: ['pods.eks.amazonaws.com'] }],
        },
      ],
    }).json,
    inlinePolicies: [{ name: 'lag', policy: lagPolicy(kafka) }],
  });
  const identity = new aws.eks.PodIdentityAssociation('KedaIdentity', {
    clusterName: cluster.name,
    namespace: KEDA_NAMESPACE,
    serviceAccount: 'keda-operator',
    roleArn: role.arn,
  });
  return new kubernetes.helm.v3.Release(
    'Keda',
    {
      name: 'keda',
      namespace: KEDA_NAMESPACE,
      createNamespace: true,
      chart: 'keda',
      version: KEDA_VERSION,
      repositoryOpts: { repo: 'https://kedacore.github.io/charts' },
    },
    { provider, dependsOn: [identity] },
  );
}

function lagPolicy(kafka: KafkaCluster): $util.Output<string> {
  return aws.iam.getPolicyDocumentOutput({
    statements: [
      kafkaStatement([kafka.arn], 'Connect'),
      kafkaStatement([kafkaArn(kafka, 'topic', pipeline.KAFKA_TOPIC)], 'DescribeTopic'),
      kafkaStatement([kafkaArn(kafka, 'group', pipeline.KAFKA_GROUP_ID)], 'DescribeGroup'),
    ],
  }).json;
}

/** Applies the objects in their order. @returns the load balancer's host name */
function applyAll(
  objects: $util.Output<KubernetesObject[]>,
  options: $util.CustomResourceOptions,
): $util.Output<string> {
  return objects.apply((list) => {
    const created = new Map<string, $util.CustomResource>();
    for (const object of list) {
      const namespace =
        object.metadata.namespace === NAMESPACE ? [created.get('Namespace') as $util.CustomResource] : [];
      created.set(
        object.kind,
        applyObject(object, { ...options, dependsOn: [...asList(options.dependsOn), ...namespace] }),
      );
    }
    const service = created.get('Service') as kubernetes.core.v1.Service;
    return service.status.loadBalancer.ingress[0].hostname;
  });
}

const asList = (value: $util.CustomResourceOptions['dependsOn']) => [value ?? []].flat() as $util.Resource[];

function applyObject(object: KubernetesObject, options: $util.CustomResourceOptions): $util.CustomResource {
  const name = `Kubernetes${object.kind}${object.metadata.name === SERVICE ? '' : `-${object.metadata.name}`}`;
  const args = object as any;
  switch (object.kind) {
    case 'Namespace':
      return new kubernetes.core.v1.Namespace(name, args, options);
    case 'ServiceAccount':
      return new kubernetes.core.v1.ServiceAccount(name, args, options);
    case 'ConfigMap':
      return new kubernetes.core.v1.ConfigMap(name, args, options);
    case 'Deployment':
      return new kubernetes.apps.v1.Deployment(name, args, { ...options, ignoreChanges: ['spec.replicas'] });
    case 'Service':
      return new kubernetes.core.v1.Service(name, args, options);
    case 'PodDisruptionBudget':
      return new kubernetes.policy.v1.PodDisruptionBudget(name, args, options);
    case 'NetworkPolicy':
      return new kubernetes.networking.v1.NetworkPolicy(name, args, options);
    case 'HorizontalPodAutoscaler':
      return new kubernetes.autoscaling.v2.HorizontalPodAutoscaler(name, args, options);
    default:
      return new kubernetes.apiextensions.CustomResource(name, args, options);
  }
}
