import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NodePool } from '@kubernetes-models/karpenter/karpenter.sh/v1/NodePool';
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import { TriggerAuthentication } from '@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication';
import { variables } from '@video-pipeline/config';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Namespace } from 'kubernetes-models/v1/Namespace';
import { Service } from 'kubernetes-models/v1/Service';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import { describe, expect, test } from 'vitest';
import { manifests } from '../../infra/kubernetes.ts';
import type { KubernetesObject, Manifests } from '../../infra/kubernetes-object.ts';
import { GPU_FPS, GPU_NODE, GPU_POD } from '../../infra/scaling.ts';
import { type Stage, stageOf } from '../../infra/stages.ts';
import { graphOf, ofType } from './graphs.ts';
import { ROOT } from './offline/platform.ts';

/** Each kind's class, whose `validate` checks against the schema that the API server publishes. */
const KINDS: Record<string, new (data: never) => { validate(): void }> = {
  ConfigMap,
  Deployment,
  HorizontalPodAutoscaler,
  Namespace,
  NetworkPolicy,
  NodePool,
  PodDisruptionBudget,
  ScaledObject,
  Service,
  ServiceAccount,
  TriggerAuthentication,
};

function validate(object: KubernetesObject): void {
  const Kind = KINDS[object.kind];
  if (!Kind) throw new Error(`no schema for ${object.kind}`);
  new Kind(object as never).validate();
}

const OS = 'kubernetes.io/os';
const TYPE = 'node.kubernetes.io/instance-type';
/**
 * The DaemonSets of Container Insights 6.3.0: name, CPU request, and the labels of the nodes that they run on. Karpenter
 * before 1.14 takes the CPU of each from a node, unless a requirement of the NodePool excludes it (`isDaemonPodCompatible`).
 * @see https://github.com/aws-observability/helm-charts, charts/amazon-cloudwatch-observability
 */
const AGENTS: [string, number, Record<string, string[]>][] = [
  ['cloudwatch-agent', 0.25, { [OS]: ['linux'] }],
  ['cloudwatch-agent-windows', 0.25, { [OS]: ['windows'] }],
  ['cloudwatch-agent-windows-container-insights', 0.25, { [OS]: ['windows'] }],
  ['fluent-bit', 0.05, { [OS]: ['linux'] }],
  ['fluent-bit-windows', 0.05, { [OS]: ['windows'] }],
  ['dcgm-exporter', 0.25, { [OS]: ['linux'], [TYPE]: ['g4dn.xlarge', 'g5.xlarge', 'g6.xlarge'] }],
  ['neuron-monitor', 0.256, { [OS]: ['linux'], [TYPE]: ['inf1.xlarge', 'inf2.xlarge', 'trn1.2xlarge'] }],
];

type Eks = Extract<Stage['inference'], { backend: 'eks' }>;

function render(change: Partial<Eks> = {}): KubernetesObject[] {
  const { inference, kafka, settings } = stageOf('production');
  if (inference.backend !== 'eks') throw new Error('production has no EKS');
  const input: Manifests = {
    image: 'registry/model@sha256:0',
    inference: { ...inference, ...change },
    settings,
    loadBalancerGroup: 'sg-1',
    clientCidr: '10.0.0.0/16',
    kafka: { bootstrapServers: 'b-1:9098', region: 'us-east-1', partitions: kafka.partitions },
  };
  return manifests(input);
}

const hours = { timezone: 'Etc/UTC', start: '0 7 * * 1-5', end: '0 19 * * 1-5' };
const VARIANTS: [string, Partial<Eks>][] = [
  ['KEDA', {}],
  ['KEDA with office hours and no pod outside them', { replicas: { min: 0, max: 2 }, hours }],
  ['a plain HorizontalPodAutoscaler', { autoscaler: 'hpa' }],
];

describe.each(VARIANTS)('Kubernetes objects with %s', (_, change) => {
  const objects = render(change);

  test('match the schemas of their APIs', () => {
    for (const object of objects) expect(() => validate(object), object.kind).not.toThrow();
  });

  test('request GPU nodes of the instance types that quotas, prices and capacity are computed for', () => {
    const pool = objects.find(({ kind }) => kind === 'NodePool') as any;
    const types = {
      key: 'node.kubernetes.io/instance-type',
      operator: 'In',
      values: ['g6.xlarge', 'g5.xlarge'],
    };
    expect(pool.spec.template.spec.requirements).toContainEqual(types);
  });

  test('give nodes no label that Karpenter reserves, in any of its versions', () => {
    const { metadata, spec } = (objects.find(({ kind }) => kind === 'NodePool') as any).spec.template;
    const required = spec.requirements.map(({ key }: { key: string }) => key);
    // Before 1.9 the whole of kubernetes.io is restricted, but for these (karpenter.sh_nodepools.yaml).
    const known = /^(kubernetes\.io\/(arch|os)|node\.kubernetes\.io\/.*|karpenter\.sh\/capacity-type)$/;
    for (const key of [...Object.keys(metadata?.labels ?? {}), ...required])
      expect(known.test(key) || !/^[^/]*(kubernetes\.io|karpenter\.sh)\//.test(key), key).toBe(true);
  });

  test('include exactly one autoscaler of the deployment', () => {
    const scalers = objects.filter(({ kind }) => ['ScaledObject', 'HorizontalPodAutoscaler'].includes(kind));
    expect(scalers).toHaveLength(1);
  });
});

test('the schema check rejects a wrong Deployment and a wrong ScaledObject', () => {
  const [broken] = render().filter(({ kind }) => kind === 'Deployment');
  expect(() => validate({ ...broken, spec: { replicas: 'two' } } as never)).toThrow();
  const [scaled] = render().filter(({ kind }) => kind === 'ScaledObject');
  expect(() => validate({ ...scaled, spec: { triggers: 'none' } } as never)).toThrow();
});

test('SST applies the rendered objects to EKS, each once', async () => {
  for (const deployed of ['production', 'staging'] as const) {
    const applied = (await graphOf(deployed)).resources
      .filter(({ type }) => type.startsWith('kubernetes:') && !type.includes('helm'))
      .map(({ inputs }) => inputs as KubernetesObject);
    for (const object of applied) expect(() => validate(object), object.kind).not.toThrow();
    const { inference } = stageOf(deployed);
    const expected = render(inference as Eks).map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(applied.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort()).toEqual(expected.sort());
  }
});

describe('the Kubernetes objects of the model server', () => {
  const objects = render();
  const find = (kind: string, name = 'inference-service') =>
    objects.find((one) => one.kind === kind && one.metadata.name === name) as any;
  const pod = find('Deployment').spec.template;
  const [container] = pod.spec.containers;
  const environment: Record<string, string> = Object.fromEntries(
    container.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
  );

  test('give the server a read-only file system, except for /tmp', () => {
    expect(container.securityContext.readOnlyRootFilesystem).toBe(true);
    expect(container.volumeMounts).toEqual([{ name: 'tmp', mountPath: '/tmp' }]);
    expect(pod.spec.volumes).toEqual([{ name: 'tmp', emptyDir: {} }]);
  });

  test('use one port from the load balancer to the PORT of the server', () => {
    const [{ containerPort, name }] = container.ports;
    expect(environment.PORT).toBe(String(containerPort));
    expect(find('Service').spec.ports[0]).toMatchObject({ port: containerPort, targetPort: name });
    expect(pod.metadata.annotations['prometheus.io/port']).toBe(String(containerPort));
    expect(find('NetworkPolicy').spec.ingress[0].ports[0].port).toBe(containerPort);
  });

  test('probe paths that the server serves', () => {
    const server = sourcesOf('model/src') + sourcesOf('packages/http/src');
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
      expect(server).toContain(`'${container[probe].httpGet.path}'`);
      // Kubernetes' own second is less than a busy server may take: it would be taken for dead under load.
      expect(container[probe].timeoutSeconds).toBeGreaterThanOrEqual(5);
      expect(container[probe].timeoutSeconds).toBeLessThanOrEqual(container[probe].periodSeconds);
    }
    expect(server).toContain(`'${pod.metadata.annotations['prometheus.io/path']}'`);
    const { periodSeconds, failureThreshold } = container.startupProbe;
    expect(periodSeconds * failureThreshold).toBe(20 * 60);
  });

  test('set only variables that the server reads, to valid values', () => {
    const server = sourcesOf('model/src') + sourcesOf('packages/telemetry/src');
    for (const [name, value] of Object.entries(environment)) {
      expect(variables[name as keyof typeof variables].safeParse(value).success, name).toBe(true);
      expect(server, name).toContain(name);
    }
  });

  test('set INFERENCE_DEVICE to the GPU that the CUDA image is built for', () => {
    const [, device] = /INFERENCE_DEVICE=(\w+)/.exec(readFileSync('model/Dockerfile.cuda', 'utf8')) ?? [];
    expect(environment.INFERENCE_DEVICE).toBe(device);
  });

  test('request the CPUs that the capacity model plans with, and a node has these beside its agents', () => {
    const { vcpus, reserved, agents } = GPU_NODE;
    const requested = Number(container.resources.requests.cpu);
    expect(requested).toBe(GPU_POD.vcpus);
    expect(GPU_FPS * GPU_POD.cpuMs).toBeLessThanOrEqual(1000 * requested);
    expect(requested + reserved + agents).toBeLessThanOrEqual(vcpus);
    // Pods are added by the request, so a much smaller one would add more of them than were planned.
    expect(requested).toBeGreaterThan(0.7 * vcpus);
  });

  test('reserve CPU for the DaemonSets that can run on GPU nodes, and for no others', () => {
    const { requirements } = find('NodePool', 'inference-gpu').spec.template.spec;
    const counted = AGENTS.filter(([, , wanted]) =>
      Object.entries(wanted).every(([key, values]) => {
        const required = requirements.find((one: { key: string }) => one.key === key);
        return !required || required.values.some((value: string) => values.includes(value));
      }),
    );
    expect(counted.map(([name]) => name)).toEqual(['cloudwatch-agent', 'fluent-bit', 'dcgm-exporter']);
    const cpu = counted.reduce((sum, [, one]) => sum + one, 0);
    expect(cpu).toBeCloseTo(GPU_NODE.agents);
  });

  test('allow the same source addresses in the load balancer as in the network policy', () => {
    const [{ from }] = find('NetworkPolicy').spec.ingress;
    expect(find('Service').spec.loadBalancerSourceRanges).toEqual(
      from.map((one: { ipBlock: { cidr: string } }) => one.ipBlock.cidr),
    );
  });

  test('select the pods by labels that the pods have', () => {
    const labels = pod.metadata.labels;
    for (const selector of [
      find('Deployment').spec.selector.matchLabels,
      find('Service').spec.selector,
      find('PodDisruptionBudget').spec.selector.matchLabels,
      find('NetworkPolicy').spec.podSelector.matchLabels,
    ]) {
      expect(labels).toMatchObject(selector);
    }
  });

  test('scale on the lag of the consumer group of detect on video-frames', () => {
    const [trigger] = find('ScaledObject').spec.triggers;
    expect(trigger.metadata).toMatchObject({ consumerGroup: 'frame-consumer-group', topic: 'video-frames' });
  });
});

test('the ingest task on ECS gets only variables that ingest reads, and a health check of its own port', async () => {
  const source =
    sourcesOf('ingest-host/src') + sourcesOf('packages/kafka/src') + sourcesOf('packages/telemetry/src');
  for (const { inputs, name } of ofType(
    await graphOf('production'),
    'aws:ecs/taskDefinition:TaskDefinition',
  )) {
    const [container] = JSON.parse(inputs.containerDefinitions);
    for (const { name: variable } of [...container.environment, ...container.secrets]) {
      if (!variable.startsWith('SST_')) expect(Object.keys(variables), name).toContain(variable);
    }
    const [, port, path] = container.healthCheck.command.join(' ').match(/127\.0\.0\.1:(\d+)(\/\w+)/) ?? [];
    const given = container.environment.find((one: { name: string }) => one.name === 'HEALTH_PORT');
    expect(port).toBe(given.value);
    expect(source).toContain(`'${path}'`);
  }
});

function sourcesOf(folder: string): string {
  const files = globSync(`${folder}/**/*.ts`, { cwd: ROOT }).filter((file) => !file.endsWith('.test.ts'));
  return files.map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n');
}
