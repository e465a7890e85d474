import { describe, expect, test } from 'vitest';
import { manifests } from '../../infra/kubernetes.ts';
import type { KubernetesObject } from '../../infra/kubernetes-object.ts';
import { type Stage, stageOf } from '../../infra/stages.ts';
import { KUBERNETES_VERSION } from '../../infra/versions.ts';
import { ACCESS, ACCOUNT, DEPLOY_CIDR, DEPLOYED, type Deployed, graphOf, ofType, one } from './graphs.ts';
import { evaluate, prepare } from './offline/evaluate.ts';

type Eks = Extract<Stage['inference'], { backend: 'eks' }>;
const EKS = ['production', 'staging'] as const satisfies Deployed[];
const DAY = 86_400_000;

/** Objects of one stage, by kind. */
function render(name: string, change: Partial<Stage['settings']> = {}): Record<string, any> {
  const { inference, kafka, settings } = stageOf(name);
  const list = manifests({
    image: 'registry/model@sha256:0',
    inference: inference as Eks,
    settings: { ...settings, ...change },
    loadBalancerGroup: 'sg-1',
    clientCidr: '10.0.0.0/16',
    kafka: { bootstrapServers: 'b-1:9098', region: 'us-east-1', partitions: kafka.partitions },
  });
  return Object.fromEntries(list.map((object: KubernetesObject) => [object.kind, object]));
}

const attribute = (service: any, list: string, name: string) =>
  service.metadata.annotations[`service.beta.kubernetes.io/aws-load-balancer-${list}`]
    ?.split(',')
    .map((pair: string) => pair.split('='))
    .find(([key]: string[]) => key === name)?.[1];

describe.each(EKS)('a rollout of the model server in %s', (name) => {
  const { Namespace, Deployment, Service, NodePool } = render(name);
  const { spec } = Deployment.spec.template;
  const { maxSurge, maxUnavailable } = Deployment.spec.strategy.rollingUpdate;

  test('has a GPU for each added pod, also when all replicas run', () => {
    const most = (stageOf(name).inference as Eks).replicas.max + maxSurge;
    expect(Number(NodePool.spec.limits['nvidia.com/gpu'])).toBeGreaterThanOrEqual(most);
    expect(maxUnavailable).toBe(0);
  });

  test('ends an old pod only when the load balancer reports a new pod healthy', async () => {
    // The key of Auto Mode, not of the controller that one installs.
    expect(Namespace.metadata.labels['eks.amazonaws.com/pod-readiness-gate-inject']).toBe('enabled');
    const applied = one(await graphOf(name), 'kubernetes:apps/v1:Deployment', 'KubernetesDeployment');
    expect(applied.dependsOn).toEqual(
      expect.arrayContaining(['KubernetesService', 'KubernetesNamespace-video-pipeline']),
    );
  });

  // Made in an `apply`, an object depends on nothing that it carries, and `sst diff` does not know it before that is known.
  test.each([
    ['Deployment', 'ModelImage'],
    ['Service', 'InferenceGroup'],
    ['ScaledObject', 'KafkaCluster'],
  ])('gives only its %s a dependency on %s', async (kind, carried) => {
    const graph = await graphOf(name);
    const carriers = graph.resources.filter(
      (one) => one.type.startsWith('kubernetes:') && one.dependsOn.includes(carried),
    );
    expect(carriers.map(({ name }) => name)).toEqual([`Kubernetes${kind}`]);
  });

  test('starts when a setting of the model changes', () => {
    const changed = render(name, { INFERENCE_CONFIDENCE_THRESHOLD: 0.31 });
    expect(JSON.stringify(changed.Deployment.spec.template)).toContain('0.31');
  });

  test("creates KEDA's ScaledObject after the Deployment and after KEDA", async () => {
    const scaler = one(
      await graphOf(name),
      'kubernetes:keda.sh/v1alpha1:ScaledObject',
      'KubernetesScaledObject',
    );
    expect(scaler.inputs.spec.triggers).toContainEqual(expect.objectContaining({ type: 'cpu' }));
    expect(scaler.dependsOn).toEqual(expect.arrayContaining(['KubernetesDeployment', 'Keda']));
  });

  test('lets an old pod finish its requests after the load balancer has deregistered it', () => {
    const drain = spec.containers[0].lifecycle.preStop.sleep.seconds;
    const deregistration = attribute(
      Service,
      'target-group-attributes',
      'deregistration_delay.timeout_seconds',
    );
    expect(drain).toBeGreaterThan(Number(deregistration));
    const { env } = spec.containers[0];
    const grace = Number(env.find((one: { name: string }) => one.name === 'SHUTDOWN_GRACE_SECONDS').value);
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(drain + grace);
  });

  test('has cross-zone load balancing, so that each address reaches every pod', () => {
    expect(attribute(Service, 'attributes', 'load_balancing.cross_zone.enabled')).toBe('true');
  });

  test('has a timeout long enough for new GPU nodes', async () => {
    const graph = await graphOf(name);
    const { timeouts } = one(graph, 'kubernetes:apps/v1:Deployment', 'KubernetesDeployment');
    // One pod after another, each with a node of its own: some 15 minutes.
    expect(Number.parseInt(timeouts.update, 10)).toBeGreaterThanOrEqual(2 * 15 * 60);
    expect(Number.parseInt(timeouts.create, 10)).toBeGreaterThanOrEqual(15 * 60);
    expect(Deployment.spec.progressDeadlineSeconds).toBeGreaterThanOrEqual(15 * 60);
    expect(one(graph, 'kubernetes:helm.sh/v3:Release', 'Keda').inputs.timeout).toBeGreaterThanOrEqual(600);
  });

  test('is not disturbed by Karpenter, which removes only empty nodes, one at a time', () => {
    expect(NodePool.spec.disruption).toMatchObject({
      consolidationPolicy: 'WhenEmpty',
      budgets: [{ nodes: '1' }],
    });
    // Auto Mode ends a node after 21 days, whatever it runs.
    expect(Number.parseInt(NodePool.spec.template.spec.expireAfter, 10)).toBeLessThan(21 * 24);
  });
});

/**
 * End of AWS's standard support for each version. After it a control plane costs six times as much.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html, as of 2026-04
 */
const STANDARD_SUPPORT_ENDS: Record<string, string> = {
  '1.33': '2026-07-29',
  '1.34': '2026-12-02',
  '1.35': '2027-03-27',
};

describe.each(EKS)('the EKS cluster of %s', (name) => {
  test('gets Kubernetes objects only after its add-ons have run pods', async () => {
    const { dependsOn } = one(await graphOf(name), 'pulumi:providers:kubernetes', 'Kubernetes');
    expect(dependsOn).toEqual(expect.arrayContaining(['InferenceInsights', 'InferenceMetrics']));
  });

  const cluster = async () => one(await graphOf(name), 'aws:eks/cluster:Cluster', 'InferenceCluster').inputs;

  test('runs a Kubernetes version that has standard support for two more months', async () => {
    const { version, upgradePolicy } = await cluster();
    expect(version).toBe(KUBERNETES_VERSION);
    expect(upgradePolicy).toEqual({ supportType: 'STANDARD' });
    const left = Date.parse(STANDARD_SUPPORT_ENDS[version] ?? '') - Date.now();
    expect(
      left / DAY,
      `days that Kubernetes ${version} is supported: raise KUBERNETES_VERSION`,
    ).toBeGreaterThan(60);
  });

  test('gives access to the roles that the deploying shell names, once each, and to its creator', async () => {
    const graph = await graphOf(name);
    // EKS made an entry for its maker already, and refuses another one.
    expect(ACCESS.CLUSTER_ADMINS).toContain('role/ci/deploy');
    const policies = ofType(graph, 'aws:eks/accessPolicyAssociation:AccessPolicyAssociation').map(
      ({ inputs }) => [
        inputs.principalArn.split('/').at(-1),
        inputs.policyArn.split('/').at(-1),
        inputs.accessScope.type,
      ],
    );
    expect(policies.sort()).toEqual([
      ['look', 'AmazonEKSViewPolicy', 'namespace'],
      ['operate', 'AmazonEKSClusterAdminPolicy', 'cluster'],
    ]);
    expect(ofType(graph, 'aws:eks/accessEntry:AccessEntry')).toHaveLength(2);
  });

  test('does not inject OpenTelemetry into pods', async () => {
    const { inputs } = one(await graphOf(name), 'aws:eks/addon:Addon', 'InferenceInsights');
    // On by default since 5.0.0: what a later version does is read before it is taken.
    expect(inputs.addonVersion).toMatch(/^v\d+\.\d+\.\d+-eksbuild\.\d+$/);
    expect(JSON.parse(inputs.configurationValues)).toMatchObject({
      manager: { applicationSignals: { autoMonitor: { monitorAllServices: false } } },
    });
  });

  test('has KEDA of at least 2.18.3, which reads a group without commits from the earliest offset', async () => {
    const graph = await graphOf(name);
    const [, major = 0, minor = 0, patch = 0] =
      /^(\d+)\.(\d+)\.(\d+)$/.exec(one(graph, 'kubernetes:helm.sh/v3:Release', 'Keda').inputs.version) ?? [];
    expect(Number(major) * 1e6 + Number(minor) * 1e3 + Number(patch)).toBeGreaterThanOrEqual(2_018_003);
    const [trigger] = render(name).ScaledObject.spec.triggers;
    expect(trigger.metadata.offsetResetPolicy).toBe('earliest');
    expect(trigger.metadata.scaleToZeroOnInvalidOffset).toBeUndefined();
  });

  test('requests its token in the region of the stage', async () => {
    const { inputs } = one(await graphOf(name), 'pulumi:providers:kubernetes', 'Kubernetes');
    const { args } = JSON.parse(inputs.kubeconfig).users[0].user.exec;
    expect(args[args.indexOf('--region') + 1]).toBe('us-east-1');
  });

  test('has a retention for each of its log groups', async () => {
    const groups = ofType(await graphOf(name), 'aws:cloudwatch/logGroup:LogGroup');
    for (const { inputs } of groups) expect(inputs.retentionInDays, inputs.name).toBeGreaterThan(0);
    const names = groups.map(({ inputs }) => inputs.name);
    for (const made of [
      'containerinsights/video-pipeline-STAGE/performance',
      'containerinsights/video-pipeline-STAGE/application',
      'eks/video-pipeline-STAGE/cluster',
    ]) {
      expect(names).toContain(`/aws/${made.replace('STAGE', name)}`);
    }
  });
});

test('a role that deploys to a cluster which another role created keeps its access entry', async () => {
  await prepare();
  const creator = `arn:aws:sts::${ACCOUNT}:assumed-role/other`;
  const graph = await evaluate({
    stage: 'staging',
    env: { DEPLOY_CIDRS: DEPLOY_CIDR, ...ACCESS },
    answers: { 'aws:eks/cluster:Cluster': { tags: { creator } } },
  });
  const entries = ofType(graph, 'aws:eks/accessEntry:AccessEntry').map(({ inputs }) => inputs.principalArn);
  expect(entries).toContain(`arn:aws:iam::${ACCOUNT}:role/ci/deploy`);
  // The tag stays what it was when the cluster was made.
  const { ignoreChanges } = one(graph, 'aws:eks/cluster:Cluster', 'InferenceCluster');
  expect(ignoreChanges).toEqual(['tags.creator']);
});

describe('a rollout of ECS tasks', () => {
  const SERVICE = 'aws:ecs/service:Service';

  test.each(['production', 'staging', 'hosted'] as const)(
    'in %s never runs two tasks for one camera, and the deploy waits for it',
    async (deployed) => {
      const services = ofType(await graphOf(deployed), SERVICE).filter(({ name }) => /^Ingest\d/.test(name));
      expect(services.length).toBeGreaterThan(0);
      for (const { inputs } of services)
        expect(inputs).toMatchObject({
          deploymentMinimumHealthyPercent: 0,
          deploymentMaximumPercent: 100,
          waitForSteadyState: true,
          deploymentCircuitBreaker: { enable: true, rollback: true },
        });
    },
  );

  test('fails the deploy when ECS rolled back to the old tasks', async () => {
    await prepare();
    const answers = { [SERVICE]: { taskDefinition: 'arn:aws:ecs:us-east-1:123456789012:old:1' } };
    const rolledBack = evaluate({ stage: 'staging', env: { DEPLOY_CIDRS: DEPLOY_CIDR }, answers });
    await expect(rolledBack).rejects.toThrow(/Ingest1 runs .*old:1, as tasks of .* did not become healthy/s);
  });

  test("starts the console's new task before it ends the old one", async () => {
    const { inputs } = one(await graphOf('hosted'), SERVICE, 'ConsoleService');
    expect(inputs.waitForSteadyState).toBe(true);
    expect(inputs.deploymentMinimumHealthyPercent).toBeUndefined();
  });
});

describe.each(DEPLOYED)('the Kafka cluster of %s', (deployed) => {
  test('has a configuration without a Kafka version, so that the cluster can be upgraded', async () => {
    const { inputs } = one(
      await graphOf(deployed),
      'aws:msk/configuration:Configuration',
      'KafkaConfiguration',
    );
    expect(inputs.kafkaVersions).toBeUndefined();
  });

  test('has a KRaft version, except on kafka.t3.small, for which AWS rejects 3.9 and later', async () => {
    const { inputs } = one(await graphOf(deployed), 'aws:msk/cluster:Cluster', 'KafkaCluster');
    const small = inputs.brokerNodeGroupInfo.instanceType === 'kafka.t3.small';
    expect(inputs.kafkaVersion).toMatch(small ? /^3\.8\.x$/ : /^3\.9\.x\.kraft$/);
  });

  test('keeps volume sizes that autoscaling has increased', async () => {
    const { ignoreChanges } = one(await graphOf(deployed), 'aws:msk/cluster:Cluster', 'KafkaCluster');
    expect(ignoreChanges).toContain('brokerNodeGroupInfo.storageInfo.ebsStorageInfo.volumeSize');
  });
});
