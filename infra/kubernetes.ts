/**
 * The inference service's Kubernetes objects as plain values. SST applies them; `npm run k8s:render` writes them as
 * YAML.
 * @see https://kubernetes.io/docs/reference/kubernetes-api/
 */
import {
  CANARY,
  type KubernetesObject,
  LABELS,
  labelsOf,
  type Manifests,
  metadata,
  NAMESPACE,
  ours,
  SERVICE,
} from './kubernetes-object.ts';
import { GPU_POD, gpuTypes, horizontalPodAutoscaler, keda } from './scaling.ts';
import { environmentOf, MODEL_VARIABLES } from './settings.ts';

const selector = (name: string) => ({ 'app.kubernetes.io/name': name });
export const NODE_POOL = 'inference-gpu';
const HTTP = 'http';
/** Additional nodes and pods during a rollout. */
const SURGE = 1;

/** Most GPU nodes at a time: one for each pod, a rollout's and the canary's included. */
export function maxNodes({ inference, canary }: Pick<Manifests, 'inference' | 'canary'>): number {
  return inference.replicas.max + SURGE + (canary?.replicas ?? 0);
}

/**
 * Times of a pod's shutdown, seconds. `deregistration`: how long the load balancer keeps the pod's connections. It
 * removes the pod with a delay, so the pod waits longer, `beforeStop`. Then the pod finishes its requests within
 * `inWork`.
 */
const DRAIN = { deregistration: 120, beforeStop: 150, inWork: 30 };

/** Longest rollout of all pods, one after another. */
export const ROLLOUT_SECONDS = 3600;

/** Pods of one image, behind their own address. */
interface Variant {
  name: string;
  image: string;
  replicas: number;
}

/** All objects in the order in which they must be applied. */
export function manifests(input: Manifests): KubernetesObject[] {
  const { image, inference, canary } = input;
  // Initial number of pods: the autoscaler changes it later. A canary's number is fixed.
  const main: Variant = { name: SERVICE, image, replicas: Math.max(1, inference.replicas.min) };
  const variants = canary ? [main, { name: CANARY, ...canary }] : [main];
  return [
    namespace(),
    networkPolicySwitch(),
    nodePool(input),
    serviceAccount(),
    // Before the pods: a pod gets its readiness gate only if the load balancer knows its service already.
    ...variants.map(({ name }) => service(input, name)),
    ...variants.map((variant) => deployment(input, variant)),
    disruptionBudget(),
    ...variants.map(({ name }) => networkPolicy(input, name)),
    ...(input.inference.autoscaler === 'hpa' ? [horizontalPodAutoscaler(input.inference)] : keda(input)),
  ];
}

/**
 * A pod of this namespace is ready once the load balancer finds it healthy. So a rollout never ends the last pod that
 * serves. This is the label of EKS Auto Mode; that of an installed controller is `elbv2.k8s.aws/...`.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-nlb.html
 */
function namespace(): KubernetesObject {
  const labels = { ...LABELS, 'eks.amazonaws.com/pod-readiness-gate-inject': 'enabled' };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels } };
}

/** Without this ConfigMap EKS Auto Mode ignores network policies. */
function networkPolicySwitch(): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'amazon-vpc-cni', namespace: 'kube-system', labels: LABELS },
    data: { 'enable-network-policy-controller': 'true' },
  };
}

/**
 * GPU nodes start when a pod needs one, and end after it. Auto Mode installs NVIDIA's device plugin and driver, version
 * 580 as the image needs it. Before 1.14 Karpenter takes from a node what any DaemonSet requests that these requirements
 * do not exclude. Container Insights has some for Windows and for AWS's Neuron chips. With them no pod would fit a node.
 * @see https://github.com/bottlerocket-os/bottlerocket-kernel-kit/issues/254
 * @see https://github.com/kubernetes-sigs/karpenter/issues/1009 and 2838
 */
function nodePool(input: Manifests): KubernetesObject {
  const { gpu } = input.inference;
  const requirement = (key: string, values: readonly string[]) => ({ key, operator: 'In', values });
  return {
    apiVersion: 'karpenter.sh/v1',
    kind: 'NodePool',
    metadata: { name: NODE_POOL, labels: LABELS },
    spec: {
      template: {
        // No labels: before 1.9 Karpenter refuses those of `app.kubernetes.io` for nodes.
        spec: {
          nodeClassRef: { group: 'eks.amazonaws.com', kind: 'NodeClass', name: 'default' },
          requirements: [
            // Larger sizes have one GPU, too: they would cost more, and use more of the vCPU quota than is planned.
            requirement('node.kubernetes.io/instance-type', gpuTypes(gpu)),
            requirement('kubernetes.io/os', ['linux']),
            requirement('karpenter.sh/capacity-type', gpu.capacity),
            requirement('kubernetes.io/arch', ['amd64']),
          ],
          taints: [{ key: 'nvidia.com/gpu', effect: 'NoSchedule' }],
          // Auto Mode ends a node after 21 days. This node expires earlier, and its pods are moved one by one within an
          // hour.
          expireAfter: '480h',
          terminationGracePeriod: '1h',
        },
      },
      limits: { 'nvidia.com/gpu': String(maxNodes(input)) },
      // A pod has a whole node, so there is nothing to gain from moving it to a fuller one.
      disruption: {
        consolidationPolicy: 'WhenEmpty',
        consolidateAfter: '5m',
        budgets: [{ nodes: '1' }],
      },
    },
  };
}

const serviceAccount = () => ours('v1 ServiceAccount', SERVICE, { automountServiceAccountToken: false });

/** Variables of the pod itself, not of a ConfigMap: so a changed setting starts a rollout. */
function environment({ settings }: Manifests) {
  const values = {
    HOST: '0.0.0.0',
    ...environmentOf({ settings }, ['PORT', ...MODEL_VARIABLES]),
    SHUTDOWN_GRACE_SECONDS: String(DRAIN.inWork),
  };
  return Object.entries(values).map(([name, value]) => ({ name, value }));
}

function deployment(input: Manifests, { name, image, replicas }: Variant): KubernetesObject {
  const { PORT } = input.settings;
  // Under load the server may need longer than Kubernetes' default of one second.
  const health = { httpGet: { path: '/health', port: HTTP }, timeoutSeconds: 5 };
  return ours('apps/v1 Deployment', name, {
    spec: {
      replicas,
      // A new GPU node, its image and the load balancer's health checks take up to 15 minutes for each pod.
      progressDeadlineSeconds: ROLLOUT_SECONDS,
      selector: { matchLabels: selector(name) },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: SURGE } },
      template: {
        metadata: {
          labels: labelsOf(name),
          annotations: {
            'prometheus.io/scrape': 'true',
            'prometheus.io/path': '/metrics',
            'prometheus.io/port': String(PORT),
          },
        },
        spec: {
          serviceAccountName: SERVICE,
          automountServiceAccountToken: false,
          nodeSelector: { 'karpenter.sh/nodepool': NODE_POOL },
          tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: 'topology.kubernetes.io/zone',
              whenUnsatisfiable: 'ScheduleAnyway',
              labelSelector: { matchLabels: selector(name) },
            },
          ],
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          terminationGracePeriodSeconds: DRAIN.beforeStop + DRAIN.inWork + 10,
          containers: [
            {
              name: 'model',
              image,
              ports: [{ name: HTTP, containerPort: PORT }],
              env: environment(input),
              lifecycle: { preStop: { sleep: { seconds: DRAIN.beforeStop } } },
              resources: {
                requests: { cpu: String(GPU_POD.vcpus), memory: '4Gi', 'nvidia.com/gpu': '1' },
                limits: { memory: '8Gi', 'nvidia.com/gpu': '1' },
              },
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'] },
              },
              // The server writes the weights to a file there, and each thread maps it into memory.
              volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
              startupProbe: { ...health, periodSeconds: 5, failureThreshold: GPU_POD.startSeconds / 5 },
              readinessProbe: { ...health, periodSeconds: 5, failureThreshold: 2 },
              livenessProbe: { ...health, periodSeconds: 10, failureThreshold: 6 },
            },
          ],
          volumes: [{ name: 'tmp', emptyDir: {} }],
        },
      },
    },
  });
}

/** Two pods may be in two of three zones: the third zone's address must reach them too. */
const ANY_ZONE = 'load_balancing.cross_zone.enabled=true';
/**
 * DNS gives a client the address in its own zone, which sends to that zone's pods. If a zone has no healthy pod, its
 * clients get the other zones' addresses.
 * @see https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-load-balancer-attributes.html#zonal-dns-affinity
 */
const OWN_ZONE =
  'load_balancing.cross_zone.enabled=false,dns_record.client_routing_policy=availability_zone_affinity';

/**
 * An internal network load balancer that targets the pods directly. AWS's list of annotations for Auto Mode is
 * incomplete and lacks `security-groups`, but a sample of AWS uses it there. If Auto Mode ignored it, it would create a
 * group that accepts the source ranges. detect may connect to that group, too.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-nlb.html
 * @see https://github.com/aws-samples/appmod-blueprints, platform/infra/terraform/common/gitlab_infra/main.tf
 */
function service({ clientCidr, loadBalancerGroup, settings, zonal }: Manifests, name: string) {
  const aws = (key: string) => `service.beta.kubernetes.io/aws-load-balancer-${key}`;
  return ours('v1 Service', name, {
    metadata: {
      ...metadata(name),
      annotations: {
        [aws('scheme')]: 'internal',
        [aws('nlb-target-type')]: 'ip',
        [aws('security-groups')]: loadBalancerGroup,
        [aws('healthcheck-path')]: '/health',
        [aws('healthcheck-protocol')]: 'http',
        [aws('healthcheck-interval')]: '10',
        [aws('attributes')]: zonal ? OWN_ZONE : ANY_ZONE,
        [aws('target-group-attributes')]: [
          `deregistration_delay.timeout_seconds=${DRAIN.deregistration}`,
          'deregistration_delay.connection_termination.enabled=true',
        ].join(),
      },
    },
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: 'eks.amazonaws.com/nlb',
      loadBalancerSourceRanges: [clientCidr],
      selector: selector(name),
      ports: [{ name: HTTP, port: settings.PORT, targetPort: HTTP, protocol: 'TCP' }],
    },
  });
}

const disruptionBudget = () =>
  ours('policy/v1 PodDisruptionBudget', SERVICE, {
    spec: { maxUnavailable: 1, selector: { matchLabels: selector(SERVICE) } },
  });

/** The model server accepts connections from the VPC on its port. It opens none. */
function networkPolicy({ clientCidr, settings }: Manifests, name: string): KubernetesObject {
  return ours('networking.k8s.io/v1 NetworkPolicy', name, {
    spec: {
      podSelector: { matchLabels: selector(name) },
      // Without egress rules nothing is allowed. Kubernetes drops an empty list: each apply would then be a change.
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        { from: [{ ipBlock: { cidr: clientCidr } }], ports: [{ protocol: 'TCP', port: settings.PORT }] },
      ],
    },
  });
}
