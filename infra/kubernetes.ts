/**
 * The inference service's Kubernetes objects, as plain values: SST applies them, `npm run k8s:render` writes them as YAML.
 * @see https://kubernetes.io/docs/reference/kubernetes-api/
 */
import { pipeline } from './settings.ts';
import type { Inference } from './stages.ts';

export const NAMESPACE = 'video-pipeline';
export const SERVICE = 'inference-service';
const LABELS = { 'app.kubernetes.io/name': SERVICE, 'app.kubernetes.io/part-of': NAMESPACE };
const SELECTOR = { 'app.kubernetes.io/name': SERVICE };
const NODE_POOL = 'inference-gpu';
const HTTP = 'http';
/** Percent of the CPU request at which another pod is due. */
const CPU_TARGET = 70;
/** Records of lag, over the group, that justify one pod: four batches. */
const LAG_PER_POD = 4 * pipeline.BATCH_SIZE;

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  [field: string]: unknown;
}

export interface Manifests {
  image: string;
  inference: Extract<Inference, { backend: 'eks' }>;
  /** Security group of the internal load balancer. */
  loadBalancerGroup: string;
  /** Addresses that may call the service: the VPC. */
  clientCidr: string;
  /** For KEDA's lag trigger. */
  kafka: { bootstrapServers: string; region: string };
}

/** Every object, in the order in which they are to be applied. */
export function manifests(input: Manifests): KubernetesObject[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels: LABELS } },
    networkPolicySwitch(),
    nodePool(input.inference),
    serviceAccount(),
    configMap(),
    deployment(input),
    service(input.loadBalancerGroup),
    disruptionBudget(),
    networkPolicy(input.clientCidr),
    ...(input.inference.autoscaler === 'hpa' ? [horizontalPodAutoscaler(input.inference)] : keda(input)),
  ];
}

const metadata = (name: string) => ({ name, namespace: NAMESPACE, labels: LABELS });

/** Without it EKS Auto Mode ignores network policies. */
function networkPolicySwitch(): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'amazon-vpc-cni', namespace: 'kube-system', labels: LABELS },
    data: { 'enable-network-policy-controller': 'true' },
  };
}

/** GPU nodes come when a pod needs one and go when it is gone. Auto Mode brings NVIDIA's driver and device plugin. */
function nodePool({ gpu, replicas }: Manifests['inference']): KubernetesObject {
  const requirement = (key: string, values: readonly string[]) => ({ key, operator: 'In', values });
  return {
    apiVersion: 'karpenter.sh/v1',
    kind: 'NodePool',
    metadata: { name: NODE_POOL, labels: LABELS },
    spec: {
      template: {
        metadata: { labels: LABELS },
        spec: {
          nodeClassRef: { group: 'eks.amazonaws.com', kind: 'NodeClass', name: 'default' },
          requirements: [
            requirement('eks.amazonaws.com/instance-family', gpu.families),
            requirement('eks.amazonaws.com/instance-gpu-count', ['1']),
            requirement('karpenter.sh/capacity-type', gpu.capacity),
            requirement('kubernetes.io/arch', ['amd64']),
          ],
          taints: [{ key: 'nvidia.com/gpu', effect: 'NoSchedule' }],
          expireAfter: '336h',
        },
      },
      limits: { 'nvidia.com/gpu': String(replicas.max) },
      disruption: { consolidationPolicy: 'WhenEmptyOrUnderutilized', consolidateAfter: '5m' },
    },
  };
}

function serviceAccount(): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: metadata(SERVICE),
    automountServiceAccountToken: false,
  };
}

function configMap(): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: metadata(SERVICE),
    data: {
      HOST: '0.0.0.0',
      PORT: String(pipeline.PORT),
      INFERENCE_CONFIDENCE_THRESHOLD: String(pipeline.INFERENCE_CONFIDENCE_THRESHOLD),
      LOG_LEVEL: 'INFO',
    },
  };
}

function deployment({ image, inference }: Manifests): KubernetesObject {
  const health = { httpGet: { path: '/health', port: HTTP } };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(SERVICE),
    spec: {
      // The autoscaler owns the number of pods; this is where it begins.
      replicas: Math.max(1, inference.replicas.min),
      selector: { matchLabels: SELECTOR },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: {
          labels: LABELS,
          annotations: {
            'prometheus.io/scrape': 'true',
            'prometheus.io/path': '/metrics',
            'prometheus.io/port': String(pipeline.PORT),
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
              labelSelector: { matchLabels: SELECTOR },
            },
          ],
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          terminationGracePeriodSeconds: 30,
          containers: [
            {
              name: 'model',
              image,
              ports: [{ name: HTTP, containerPort: pipeline.PORT }],
              envFrom: [{ configMapRef: { name: SERVICE } }],
              resources: {
                requests: { cpu: '2', memory: '4Gi', 'nvidia.com/gpu': '1' },
                limits: { memory: '8Gi', 'nvidia.com/gpu': '1' },
              },
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
              // CUDA's first session takes its time.
              startupProbe: { ...health, periodSeconds: 5, failureThreshold: 60 },
              readinessProbe: { ...health, periodSeconds: 5, failureThreshold: 2 },
              livenessProbe: { ...health, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
            },
          ],
        },
      },
    },
  };
}

/** An internal network load balancer, straight to the pods. */
function service(loadBalancerGroup: string): KubernetesObject {
  const aws = (name: string) => `service.beta.kubernetes.io/aws-load-balancer-${name}`;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      ...metadata(SERVICE),
      annotations: {
        [aws('scheme')]: 'internal',
        [aws('nlb-target-type')]: 'ip',
        [aws('security-groups')]: loadBalancerGroup,
        [aws('manage-backend-security-group-rules')]: 'false',
        [aws('healthcheck-path')]: '/health',
        [aws('healthcheck-protocol')]: 'http',
      },
    },
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: 'eks.amazonaws.com/nlb',
      selector: SELECTOR,
      ports: [{ name: HTTP, port: pipeline.PORT, targetPort: HTTP, protocol: 'TCP' }],
    },
  };
}

function disruptionBudget(): KubernetesObject {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: metadata(SERVICE),
    spec: { maxUnavailable: 1, selector: { matchLabels: SELECTOR } },
  };
}

/** The model answers the VPC on its port and calls nobody. */
function networkPolicy(clientCidr: string): KubernetesObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: metadata(SERVICE),
    spec: {
      podSelector: { matchLabels: SELECTOR },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        { from: [{ ipBlock: { cidr: clientCidr } }], ports: [{ protocol: 'TCP', port: pipeline.PORT }] },
      ],
      egress: [],
    },
  };
}

function horizontalPodAutoscaler({ replicas }: Manifests['inference']): KubernetesObject {
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: metadata(SERVICE),
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: SERVICE },
      minReplicas: Math.max(1, replicas.min),
      maxReplicas: replicas.max,
      metrics: [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: CPU_TARGET } },
        },
      ],
    },
  };
}

/**
 * One ScaledObject with both triggers: KEDA makes the HorizontalPodAutoscaler itself, and a second one would fight it.
 * @see https://keda.sh/docs/latest/scalers/apache-kafka-go/
 */
function keda({ inference, kafka }: Manifests): KubernetesObject[] {
  const { replicas, hours } = inference;
  const authentication = `${SERVICE}-kafka`;
  return [
    {
      apiVersion: 'keda.sh/v1alpha1',
      kind: 'TriggerAuthentication',
      metadata: metadata(authentication),
      // The role of KEDA's operator, by EKS Pod Identity.
      spec: { podIdentity: { provider: 'aws' } },
    },
    {
      apiVersion: 'keda.sh/v1alpha1',
      kind: 'ScaledObject',
      metadata: metadata(SERVICE),
      spec: {
        scaleTargetRef: { name: SERVICE },
        minReplicaCount: replicas.min,
        maxReplicaCount: replicas.max,
        cooldownPeriod: 600,
        triggers: [
          {
            type: 'apache-kafka',
            metadata: {
              bootstrapServers: kafka.bootstrapServers,
              consumerGroup: pipeline.KAFKA_GROUP_ID,
              topic: pipeline.KAFKA_TOPIC,
              lagThreshold: String(LAG_PER_POD),
              activationLagThreshold: '0',
              tls: 'enable',
              sasl: 'aws_msk_iam',
              awsRegion: kafka.region,
            },
            authenticationRef: { name: authentication },
          },
          { type: 'cpu', metricType: 'Utilization', metadata: { value: String(CPU_TARGET) } },
          ...(hours ? [{ type: 'cron', metadata: { ...hours, desiredReplicas: '1' } }] : []),
        ],
      },
    },
  ];
}
