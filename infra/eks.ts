import { policyOfAws } from './arn.ts';
import type { InferenceTarget } from './inference-target.ts';
import { kafkaPermissions } from './kafka.ts';
import { manifests, NODE_POOL } from './kubernetes.ts';
import { applyAll } from './kubernetes-apply.ts';
import { CANARY, NAMESPACE, SERVICE } from './kubernetes-object.ts';
import { keepLogs } from './logs.ts';
import { connect, connectOut, createGroup, deployCidrs, type Network, reachAws } from './network.ts';
import { createRole } from './roles.ts';
import { canaryOf } from './scaling.ts';
import { deployment, KAFKA_IAM_PORT, VPC_CIDR } from './settings.ts';
import { watchSpot } from './spot.ts';
import type { Parts as Inputs } from './stage-function.ts';
import type { Inference, Stage } from './stages.ts';
import { INSIGHTS, KUBERNETES_VERSION } from './versions.ts';

interface Parts extends Pick<Inputs, 'stage' | 'network' | 'kafka'> {
  inference: Extract<Inference, { backend: 'eks' }>;
  image: $util.Output<string>;
}

const KEDA_VERSION = '2.20.2';
const KEDA_NAMESPACE = 'keda';
const CLUSTER_POLICIES = ['Cluster', 'Compute', 'BlockStorage', 'LoadBalancing', 'Networking'];
const INSIGHTS_GROUPS = ['application', 'dataplane', 'host', 'performance'];

/** An EKS cluster in Auto Mode that runs the model server on GPU nodes behind an internal load balancer. */
export function createEks(parts: Parts): InferenceTarget {
  const { stage, inference, network, kafka, image } = parts;
  const { cluster, addons } = createCluster(stage, network);
  const nodes = { name: 'Nodes', id: cluster.vpcConfig.clusterSecurityGroupId };
  const loadBalancer = createGroup(network.vpc, 'Inference');
  connect(loadBalancer, nodes, stage.settings.PORT);
  // KEDA reads the consumer group's lag from the brokers.
  connect(nodes, kafka.group, KAFKA_IAM_PORT);
  if (network.endpointGroup) reachAws(network, nodes);

  // The provider checks only at its start whether the API answers. Once the add-ons exist, the cluster has run pods.
  const kubeconfig = createKubeconfig(cluster);
  const provider = new kubernetes.Provider('Kubernetes', { kubeconfig }, { dependsOn: addons });
  const keda = inference.autoscaler === 'keda' ? installKeda(parts, cluster, provider) : undefined;
  const canary = canaryOf(inference);
  const objects = manifests({
    image: carried(image),
    canary,
    inference,
    settings: stage.settings,
    loadBalancerGroup: carried(loadBalancer.id),
    zonal: stage.network.zonal,
    clientCidr: VPC_CIDR,
    kafka: {
      bootstrapServers: carried(kafka.bootstrapServers),
      region: carried(aws.getRegionOutput().region),
      partitions: stage.kafka.partitions,
    },
  });
  const hosts = applyAll(objects, provider, keda ? [keda] : []);
  const url = (name: string) => $interpolate`http://${hosts[name]}:${stage.settings.PORT}`;
  return {
    environment: {
      INFERENCE_BACKEND: 'http',
      INFERENCE_SERVICE_URL: url(SERVICE),
      ...(canary && { INFERENCE_CANARY_URL: url(CANARY), ...canary.environment }),
    },
    permissions: [],
    allow: (from) => {
      connect(from, loadBalancer, stage.settings.PORT);
      // In case Auto Mode gives the load balancer a group of its own (kubernetes.ts).
      connectOut(from, VPC_CIDR, stage.settings.PORT);
    },
    metrics: { eksCluster: cluster.name },
    hasCanary: canary !== undefined,
    ...watchSpot(stage, inference, { cluster, addons, pool: NODE_POOL }),
  };
}

/** A text, perhaps not known yet, that objects only carry. Made in an `apply`, all of them would wait for Kafka. */
const carried = (text: $util.Input<string>) => text as string;

function createCluster(stage: Stage, network: Network) {
  const clusterRole = createRole('InferenceClusterRole', 'eks.amazonaws.com', {
    managed: CLUSTER_POLICIES.map((name) => `AmazonEKS${name}Policy`),
  });
  const nodeRole = createRole('InferenceNodeRole', 'ec2.amazonaws.com', {
    managed: ['AmazonEKSWorkerNodeMinimalPolicy', 'AmazonEC2ContainerRegistryPullOnly'],
  });
  // The first writer of a log group would create it without a retention: so the groups are created before their
  // writers.
  const logs = keepLogs(stage, 'ControlPlaneLogs', `/aws/eks/${$app.name}-${$app.stage}/cluster`);
  const cluster = new aws.eks.Cluster(
    'InferenceCluster',
    {
      name: `${$app.name}-${$app.stage}`,
      version: KUBERNETES_VERSION,
      // At the end of standard support AWS upgrades the cluster. Extended support would cost six times as much.
      upgradePolicy: { supportType: 'STANDARD' },
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
        publicAccessCidrs: deployCidrs(stage),
      },
      // Who created the cluster: EKS does not report it later.
      tags: { creator: deployer() },
    },
    { dependsOn: [logs], ignoreChanges: ['tags.creator'] },
  );
  grantAccess(cluster);
  return { cluster, addons: watch(stage, cluster) };
}

/** A kubeconfig that gets its tokens from the AWS command line, so that none is stored in the state. */
function createKubeconfig({ endpoint, certificateAuthority, name }: aws.eks.Cluster) {
  // The shell's region may differ.
  const { region } = aws.getRegionOutput();
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1beta1',
    command: 'aws',
    args: ['eks', 'get-token', '--cluster-name', name, '--region', region, '--output', 'json'],
  };
  return $jsonStringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'eks',
    contexts: [{ name: 'eks', context: { cluster: 'eks', user: 'aws' } }],
    clusters: [
      {
        name: 'eks',
        cluster: { server: endpoint, 'certificate-authority-data': certificateAuthority.data },
      },
    ],
    users: [{ name: 'aws', user: { exec } }],
  });
}

/** Who deploys. A role is `arn:aws:sts::<account>:assumed-role/<name>`, whatever its path and session are. */
const deployer = () =>
  // A tag can't have a comma.
  aws.getCallerIdentityOutput().arn.apply((arn) => arn.split('/', 2).join('/').replaceAll(',', '_'));

/** The ARN of a role in the form of {@link deployer}. */
const asDeployer = (role: string) => role.replace(/:iam:(.*):role\/(?:.*\/)?/, ':sts:$1:assumed-role/');

/**
 * Grants further roles access to the cluster. The role that creates the cluster gets all rights from EKS, which refuses
 * a second entry for it: ResourceInUseException.
 */
function grantAccess(cluster: aws.eks.Cluster): void {
  const { CLUSTER_ADMINS = [], CLUSTER_VIEWERS = [] } = deployment();
  type Scope = aws.types.input.eks.AccessPolicyAssociationAccessScope;
  const grant = (principalArn: string, policy: string, accessScope: Scope) => {
    const name = `Access-${principalArn.split('/').at(-1)}`;
    const entry = new aws.eks.AccessEntry(name, { clusterName: cluster.name, principalArn });
    new aws.eks.AccessPolicyAssociation(name, {
      clusterName: cluster.name,
      principalArn: entry.principalArn,
      policyArn: policyOfAws('eks', policy),
      accessScope,
    });
  };
  const namespaces = [NAMESPACE, KEDA_NAMESPACE];
  cluster.tags.apply((tags) => {
    for (const role of new Set([...CLUSTER_ADMINS, ...CLUSTER_VIEWERS])) {
      if (asDeployer(role) === tags?.creator)
        console.log(`${role} created the Kubernetes cluster, and has all rights in it without being named`);
      else if (CLUSTER_ADMINS.includes(role)) grant(role, 'AmazonEKSClusterAdminPolicy', { type: 'cluster' });
      else grant(role, 'AmazonEKSViewPolicy', { type: 'namespace', namespaces });
    }
  });
}

/** Container Insights: the pods' logs, and GPU, CPU and memory by pod. */
function watch(stage: Stage, cluster: aws.eks.Cluster): aws.eks.Addon[] {
  const groups = INSIGHTS_GROUPS.map((group) =>
    keepLogs(stage, `Insights-${group}`, `/aws/containerinsights/${$app.name}-${$app.stage}/${group}`),
  );
  const role = createRole('InferenceInsightsRole', 'pods.eks.amazonaws.com', {
    managed: ['CloudWatchAgentServerPolicy'],
  });
  const insights = new aws.eks.Addon(
    'InferenceInsights',
    {
      clusterName: cluster.name,
      ...INSIGHTS,
      podIdentityAssociations: [{ serviceAccount: 'cloudwatch-agent', roleArn: role.arn }],
      // By default it injects OpenTelemetry into every workload, including the model server.
      configurationValues: JSON.stringify({
        manager: { applicationSignals: { autoMonitor: { monitorAllServices: false } } },
      }),
    },
    { dependsOn: groups },
  );
  const metrics = { clusterName: cluster.name, addonName: 'metrics-server' };
  return [insights, new aws.eks.Addon('InferenceMetrics', metrics)];
}

function installKeda({ stage, kafka }: Parts, cluster: aws.eks.Cluster, provider: kubernetes.Provider) {
  const { KAFKA_TOPIC, KAFKA_GROUP_ID } = stage.settings;
  const role = createRole('KedaRole', 'pods.eks.amazonaws.com', {
    statements: kafkaPermissions(kafka, { watch: { topics: [KAFKA_TOPIC], groups: [KAFKA_GROUP_ID] } }),
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
      // Its first pods wait for the cluster's first nodes.
      timeout: 900,
    },
    { provider, dependsOn: [identity] },
  );
}
