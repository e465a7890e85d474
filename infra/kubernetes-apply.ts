import { ROLLOUT_SECONDS } from './kubernetes.ts';
import { type KubernetesObject, SERVICE } from './kubernetes-object.ts';

/**
 * Applies the objects in their order, after other resources.
 * @returns host names of the load balancers, by their services' names
 */
export function applyAll(
  objects: KubernetesObject[],
  provider: kubernetes.Provider,
  after: $util.Resource[],
): Record<string, $util.Output<string>> {
  const created = new Map<string, $util.CustomResource[]>();
  const hosts: Record<string, $util.Output<string>> = {};
  for (const object of objects) {
    const first = (AFTER[object.kind] ?? ['Namespace']).flatMap((kind) => created.get(kind) ?? []);
    const one = applyObject(object, { provider, dependsOn: [...after, ...first] });
    created.set(object.kind, [...(created.get(object.kind) ?? []), one]);
    if (one instanceof kubernetes.core.v1.Service)
      hosts[object.metadata.name] = one.status.loadBalancer.ingress[0].hostname;
  }
  return hosts;
}

/**
 * Kinds that must exist before a kind. A pod gets its readiness gate only if its service exists already. KEDA refuses a
 * CPU trigger for a Deployment that does not exist yet.
 * @see https://github.com/kedacore/keda/blob/v2.20.2/apis/keda/v1alpha1/scaledobject_webhook.go, verifyCPUMemoryScalers
 */
const AFTER: Record<string, string[]> = {
  Deployment: ['Namespace', 'Service', 'NodePool', 'ServiceAccount'],
  ScaledObject: ['Deployment', 'TriggerAuthentication'],
};

/** Classes of Kubernetes' own kinds. Those of an extension have none. */
const classes = (): Record<string, new (...args: any[]) => $util.CustomResource> => ({
  Namespace: kubernetes.core.v1.Namespace,
  ServiceAccount: kubernetes.core.v1.ServiceAccount,
  ConfigMap: kubernetes.core.v1.ConfigMap,
  Service: kubernetes.core.v1.Service,
  Deployment: kubernetes.apps.v1.Deployment,
  PodDisruptionBudget: kubernetes.policy.v1.PodDisruptionBudget,
  NetworkPolicy: kubernetes.networking.v1.NetworkPolicy,
  HorizontalPodAutoscaler: kubernetes.autoscaling.v2.HorizontalPodAutoscaler,
});

const OPTIONS: Record<string, $util.CustomResourceOptions> = {
  Deployment: {
    ignoreChanges: ['spec.replicas'],
    customTimeouts: { create: `${ROLLOUT_SECONDS}s`, update: `${ROLLOUT_SECONDS}s` },
  },
  Service: { customTimeouts: { create: '20m' } },
};

function applyObject(object: KubernetesObject, options: $util.CustomResourceOptions): $util.CustomResource {
  const { kind, metadata } = object;
  const name = `Kubernetes${kind}${metadata.name === SERVICE ? '' : `-${metadata.name}`}`;
  const Class = classes()[kind] ?? kubernetes.apiextensions.CustomResource;
  return new Class(name, object, { ...options, ...OPTIONS[kind] });
}
