import { CANARY_STOPPED_KEY } from '@video-pipeline/frame';
import { beforeAll, describe, expect, test } from 'vitest';
import { quotasOf } from '../../infra/quotas.ts';
import { stageOf } from '../../infra/stages.ts';
import { callsOf, withRealIds } from './calls.ts';
import { DEPLOY_CIDR, graphOf, ofType, one, TRIED } from './graphs.ts';
import { problemsOf } from './models.ts';
import { evaluate, type Graph, prepare } from './offline/evaluate.ts';
import { actionOf, RIGHTS } from './rights.ts';

const ALARM = 'aws:cloudwatch/metricAlarm:MetricAlarm';

describe('production with MODEL_CANARY set', () => {
  let graph: Graph;
  beforeAll(async () => {
    graph = await graphOf('canary');
  });

  const deployment = (name: string) => one(graph, 'kubernetes:apps/v1:Deployment', name).inputs;
  const labelsOf = (name: string) => deployment(name).spec.template.metadata.labels;
  const CANARY = 'KubernetesDeployment-inference-canary';

  test('the canary has pods and a service of its own, and neither service selects the pods of the other', () => {
    const { containers } = deployment(CANARY).spec.template.spec;
    expect(containers[0].image).toBe(TRIED.MODEL_CANARY);
    expect(deployment('KubernetesDeployment').spec.template.spec.containers[0].image).toBe(TRIED.MODEL_IMAGE);
    for (const [service, pods] of [
      ['KubernetesService', 'KubernetesDeployment'],
      ['KubernetesService-inference-canary', CANARY],
    ] as const) {
      const { selector } = one(graph, 'kubernetes:core/v1:Service', service).inputs.spec;
      expect(labelsOf(pods)).toMatchObject(selector);
      const other = pods === CANARY ? 'KubernetesDeployment' : CANARY;
      expect(labelsOf(other)).not.toMatchObject(selector);
    }
  });

  test("the canary's network policy selects its pods, and allows no egress", () => {
    const policy = one(
      graph,
      'kubernetes:networking.k8s.io/v1:NetworkPolicy',
      'KubernetesNetworkPolicy-inference-canary',
    ).inputs.spec;
    expect(labelsOf(CANARY)).toMatchObject(policy.podSelector.matchLabels);
    expect(policy.policyTypes).toEqual(['Ingress', 'Egress']);
    expect(policy.egress).toBeUndefined();
  });

  test('the node pool allows two more GPUs, and the vCPU quota of GPU instances grows by 4', () => {
    const pool = graph.resources.find(({ name }) => name === 'KubernetesNodePool-inference-gpu');
    const stage = stageOf('production');
    const { max } = (stage.inference as { replicas: { max: number } }).replicas;
    expect(Number(pool?.inputs.spec.limits['nvidia.com/gpu'])).toBe(max + 2);
    const gpus = () => quotasOf(stage, 10).find(({ name }) => name.includes('G and VT'))?.need;
    const before = gpus() ?? 0;
    process.env.MODEL_CANARY = TRIED.MODEL_CANARY;
    expect(gpus()).toBe(before + 4);
    delete process.env.MODEL_CANARY;
  });

  test("the detect function gets the canary's URL, share and mode, and may read the object that stops it", () => {
    const { inputs } = one(graph, 'aws:lambda/function:Function', 'DetectFunction');
    expect(inputs.environment.variables).toMatchObject({
      INFERENCE_CANARY_URL: 'http://inference.elb.amazonaws.com:8000',
      INFERENCE_CANARY_SHARE: '0.1',
      INFERENCE_CANARY_MODE: 'canary',
    });
    const policies = JSON.stringify(one(graph, 'aws:iam/role:Role', 'DetectRole').inputs.inlinePolicies);
    expect(policies).toContain(CANARY_STOPPED_KEY);
  });

  test('each alarm of the canary compares both variants, notifies SNS, and may call the function that stops it', () => {
    const alarms = ofType(graph, ALARM).filter(({ name }) => name.startsWith('Alarm-Canary'));
    expect(alarms.map(({ name }) => name).sort()).toEqual(
      ['CanaryDetections', 'CanaryErrors', 'CanarySlow'].map((key) => `Alarm-${key}`),
    );
    const stop = one(graph, 'aws:lambda/function:Function', 'StopCanaryFunction');
    for (const { name, inputs } of alarms) {
      expect(inputs.alarmActions).toEqual([
        expect.stringContaining(':sns:'),
        expect.stringContaining(stop.inputs.name),
      ]);
      const [{ expression }, ...parts] = inputs.metricQueries;
      const variants = parts.map(({ metric }: any) => metric.dimensions.variant);
      expect(new Set(variants), name).toEqual(new Set(['canary', 'main']));
      for (const { id } of parts) expect(expression, name).toContain(id);
      // The mean of a few batches differs by chance alone.
      if (name.endsWith('Detections')) expect(expression).toContain('frames_canary > 1000');
      const allowed = one(graph, 'aws:lambda/permission:Permission', `${name}Stops`).inputs;
      expect(allowed.principal).toBe('lambda.alarms.cloudwatch.amazonaws.com');
      expect(allowed.sourceArn).toContain(name);
    }
    const policies = JSON.stringify(one(graph, 'aws:iam/role:Role', 'StopCanaryRole').inputs.inlinePolicies);
    expect(policies).toContain(`/${CANARY_STOPPED_KEY}`);
    expect(policies.match(/s3:\w+/g)).toEqual(['s3:PutObject']);
  });

  test("the canary's resources need only calls that match AWS's models and that the deploy's rights allow", async () => {
    const without = new Set((await graphOf('production')).resources.map(({ name }) => name));
    const more = withRealIds(graph).filter(({ name }) => !without.has(name));
    expect(more.length).toBeGreaterThan(8);
    const problems: string[] = [];
    for (const resource of more) {
      for (const [api, operation, parameters] of callsOf(resource)) {
        problems.push(...(await problemsOf(api, operation, parameters)));
        expect(RIGHTS[resource.type]?.split(' ')).toContain(actionOf(api, operation));
      }
    }
    expect(problems).toEqual([]);
  }, 240_000);
});

test('MODEL_CANARY for a stage without EKS is rejected, and the error names the stage', async () => {
  await prepare();
  const refused = evaluate({ stage: 'alice', env: { DEPLOY_CIDRS: DEPLOY_CIDR, ...TRIED } });
  await expect(refused).rejects.toThrow("MODEL_CANARY is set, and stage 'alice' has no EKS");
});

test('a stage without MODEL_CANARY has no resources of a canary', async () => {
  expect(JSON.stringify(await graphOf('production'))).not.toMatch(/canary/i);
});
