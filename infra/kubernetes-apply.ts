import { ROLLOUT_SECONDS } from './kubernetes.ts';
import { type KubernetesObject, SERVICE } from './kubernetes-object.ts';

/** Applies the objects in their order. @returns host names of the load balancers, by their services' names */
export function applyAll(
  objects: $util.Output<KubernetesObject[]>,
  options: $util.CustomResourceOptions,
): $util.Output<Record<string, string>> {
  return objects.apply((list) => {
    const created = new Map<string, $util.CustomResource[]>();
    const hosts: Record<string, $util.Output<string>> = {};
    for (const object of list) {
      const first = (AFTER[object.kind] ?? ['Namespace']).flatMap((kind) => created.get(kind) ?? []);
      const one = applyObject(object, { ...options, dependsOn: [...asList(options.dependsOn), ...first] });
      created.set(object.kind, [...(created.get(object.kind) ?? []), one]);
      if (one instanceof kubernetes.core.v1.Service)
        hosts[object.metadata.name] = one.status.loadBalancer.ingress[0].hostname;
    }
    return $resolve(hosts);
  });
}

/** Kinds that must exist before a kind. A pod gets its readiness gate only if its service exists already. */
const AFTER: Record<string, string[]> = {
  Deployment: ['Namespace', 'Service', 'NodePool', 'ServiceAccount'],
};

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
      return new kubernetes.apps.v1.Deployment(name, args, {
        ...options,
        ignoreChanges: ['spec.replicas'],
        customTimeouts: { create: `${ROLLOUT_SECONDS}s`, update: `${ROLLOUT_SECONDS}s` },
      });
    case 'Service':
      return new kubernetes.core.v1.Service(name, args, { ...options, customTimeouts: { create: '20m' } });
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
