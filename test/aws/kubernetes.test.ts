import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { manifests } from '../../infra/kubernetes.ts';
import type { KubernetesObject } from '../../infra/kubernetes-object.ts';
import { type Stage, stageOf } from '../../infra/stages.ts';
import {
  type Cluster,
  definitions,
  hasGo,
  karpenterSource,
  olderNodePools,
  startCluster,
} from './kubernetes/server.ts';

type Eks = Extract<Stage['inference'], { backend: 'eks' }>;

const canary = { image: 'registry/model@sha256:1', replicas: 1 };
function render(stage: string, change: Partial<Eks> = {}, more: object = {}): KubernetesObject[] {
  const { inference, kafka, settings } = stageOf(stage);
  return manifests({
    image: 'registry/model@sha256:0',
    inference: { ...(inference as Eks), ...change },
    settings,
    loadBalancerGroup: 'sg-1',
    clientCidr: '10.0.0.0/16',
    kafka: { bootstrapServers: 'b-1:9098', region: 'us-east-1', partitions: kafka.partitions },
    ...more,
  });
}

const PLURALS: Record<string, string> = { NetworkPolicy: 'networkpolicies' };
function pathOf({ apiVersion, kind, metadata: { namespace, name } }: KubernetesObject): string {
  const api = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const plural = PLURALS[kind] ?? `${kind.toLowerCase()}s`;
  return `${api}${namespace ? `/namespaces/${namespace}` : ''}/${plural}/${name}`;
}

const DEFINITION = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

// Nothing here schedules or runs a pod: what is proven is what the API server itself checks.
describe.skipIf(!(await hasGo()))(
  'a real Kubernetes API server with the resources of Karpenter and KEDA',
  () => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = await startCluster();
      for (const text of await definitions()) {
        const definition = parse(text);
        expect((await cluster.apply(`${DEFINITION}/${definition.metadata.name}`, definition)).status).toBe(
          201,
        );
      }
      for (const api of ['keda.sh/v1alpha1', 'karpenter.sh/v1']) {
        const served = async () => expect((await cluster.ask('GET', `/apis/${api}`)).status).toBe(200);
        await vi.waitFor(served, { timeout: 30_000, interval: 200 });
      }
    }, 1_800_000);
    afterAll(() => cluster?.stop());

    test.each([
      ['production', {}],
      ['staging', {}],
      ['production', { autoscaler: 'hpa' }],
      ['production', {}, { canary }],
    ] as [string, Partial<Eks>, object?][])(
      'accepts each object of %s %o %o unchanged, without a warning, and a second time',
      async (stage, change, more) => {
        for (const object of render(stage, change, more)) {
          const applied = await cluster.apply(pathOf(object), object);
          expect(applied.body.message, object.kind).toBeUndefined();
          expect(applied.status, object.kind).toBeLessThan(300);
          expect(applied.warnings, object.kind).toEqual([]);
          // Nothing is dropped, and nothing replaced by a default.
          expect(applied.body, object.kind).toMatchObject(object);
          const again = await cluster.apply(pathOf(object), object);
          expect(again.body.metadata.resourceVersion, `${object.kind}, unchanged`).toBe(
            applied.body.metadata.resourceVersion,
          );
        }
      },
    );

    test("accepts the model server's pod with Pod Security 'restricted'", async () => {
      const namespace = {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: 'restricted', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
      };
      await cluster.apply('/api/v1/namespaces/restricted', namespace);
      await cluster.apply('/api/v1/namespaces/restricted/serviceaccounts/inference-service', {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: 'inference-service', namespace: 'restricted' },
      });
      const deployment = render('production').find(({ kind }) => kind === 'Deployment') as any;
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'model', namespace: 'restricted' },
        spec: deployment.spec.template.spec,
      };
      const path = '/api/v1/namespaces/restricted/pods?dryRun=All';
      expect((await cluster.ask('POST', path, pod)).body.message).toBeUndefined();
      const root = structuredClone(pod);
      root.spec.securityContext.runAsNonRoot = false;
      expect((await cluster.ask('POST', path, root)).body.message).toContain('violates PodSecurity');
    });

    test.each([
      [
        'a field that no API has',
        'Deployment',
        (one: any) => (one.spec.template.spec.container = []),
        /field not declared/,
      ],
      [
        'a selector that the pods do not match',
        'Deployment',
        (one: any) => (one.spec.selector.matchLabels.x = 'y'),
        /selector/,
      ],
      [
        'a budget with minAvailable and maxUnavailable',
        'PodDisruptionBudget',
        (one: any) => (one.spec.minAvailable = 1),
        /cannot be both set/,
      ],
      [
        'an unknown consolidation policy',
        'NodePool',
        (one: any) => (one.spec.disruption.consolidationPolicy = 'Never'),
        /Unsupported value/,
      ],
      [
        'a GPU count that is not a list',
        'NodePool',
        (one: any) => (one.spec.template.spec.requirements[0].values = '1'),
        /type/,
      ],
      ['triggers that are not a list', 'ScaledObject', (one: any) => (one.spec.triggers = 'none'), /type/],
    ])('rejects %s', async (_, kind, spoil, message) => {
      const object = structuredClone(
        render('production').find((one) => one.kind === kind),
      ) as KubernetesObject;
      object.metadata.name = 'spoilt';
      spoil(object);
      const { status, body } = await cluster.apply(pathOf(object), object);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(body.message).toMatch(message);
    });

    test("the metric filter for on-demand nodes uses a field of Karpenter's log", async () => {
      const source = await karpenterSource('pkg/controllers/nodeclaim/lifecycle/launch.go');
      const [, line = ''] =
        /((?:"[\w-]+", [^\n]*\n\s*)*"[\w-]+", [^\n]*\.Info\("launched nodeclaim"\))/.exec(source) ?? [];
      expect(line).toContain('"capacity-type"');
    });

    // The last one: it takes the newer definition away.
    test('accepts the node pool also with an older Karpenter, which rejects kubernetes.io labels of nodes', async () => {
      const older = parse(await olderNodePools());
      const definition = `${DEFINITION}/${older.metadata.name}`;
      await cluster.ask('DELETE', definition);
      const gone = async () => expect((await cluster.ask('GET', definition)).status).toBe(404);
      await vi.waitFor(gone, { timeout: 30_000, interval: 200 });
      expect((await cluster.apply(definition, older)).status).toBe(201);
      const pool = render('production').find(({ kind }) => kind === 'NodePool') as any;
      const taken = async () => expect((await cluster.apply(pathOf(pool), pool)).status).toBe(201);
      await vi.waitFor(taken, { timeout: 30_000, interval: 200 });
      const labelled = structuredClone(pool);
      labelled.spec.template.metadata = { labels: { 'app.kubernetes.io/name': 'model' } };
      const { body } = await cluster.apply(pathOf(pool), labelled);
      expect(body.message).toContain('label domain "kubernetes.io" is restricted');
    });
  },
);
