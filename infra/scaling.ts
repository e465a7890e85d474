import pictures from '../docs/measured/pictures.json' with { type: 'json' };
import { type KubernetesObject, type Manifests, ours, SERVICE } from './kubernetes-object.ts';
import { deployment } from './settings.ts';
import { CPU_TARGET } from './stages.ts';

/**
 * Size and vCPUs of a GPU node, and how many of these the pods can't use. According to a public description, EKS Auto
 * Mode reserves 0.24 on a node with 8 vCPUs; no figure for 4 was found. Container Insights requests 0.25 for its agent,
 * 0.25 for DCGM's exporter and 0.05 for Fluent Bit.
 * @see https://github.com/aws-samples/appmod-blueprints/pull/235
 * @see https://github.com/aws-observability/helm-charts, values.yaml
 */
export const GPU_NODE = { size: 'xlarge', vcpus: 4, reserved: 0.24, agents: 0.55 };
/** Instance types of the GPU nodes. */
export const gpuTypes = ({ families }: Manifests['inference']['gpu']) =>
  families.map((family) => `${family}.${GPU_NODE.size}`);
/**
 * Limits of a GPU pod. `vcpus` is what it requests, whole vCPUs: a pod that does not fit a node would start one twice
 * as large. `cpuMs` is the CPU time of a frame: decoding and scaling of 720p JPEGs (`npm run bench:pictures`), and 2 ms
 * for the rest of the server, as measured beside an H200. `kernelFps` is a quarter of an H200's 3,085 frames/s with
 * candidates chosen in the graph: a cautious guess for the L4 and A10G of g6 and g5. `startSeconds` is the longest
 * start: each thread is tuned to 14 shapes of input, which takes minutes for a large model.
 */
export const GPU_POD = {
  vcpus: Math.floor(GPU_NODE.vcpus - GPU_NODE.reserved - GPU_NODE.agents),
  cpuMs: pictures.cpuMs.forModel + 2,
  kernelFps: 770,
  startSeconds: 1200,
};
/** Frames a second of one GPU pod: what its vCPUs or its kernels allow, whichever is less. Not measured as a whole. */
export const GPU_FPS = Math.floor(Math.min((1000 * GPU_POD.vcpus) / GPU_POD.cpuMs, GPU_POD.kernelFps));
/** Backlog of the consumer group that justifies a further pod, in seconds of one pod's work. */
const BACKLOG_SECONDS = 5;

/**
 * Records of lag that justify one pod. Normal operation has lag too: each partition fills a batch while another one is
 * processed, with one camera in a partition or with ten. Only further lag is a backlog.
 * @param podFps frames a second of one pod
 */
export function lagPerPod(partitions: number, batchSize: number, podFps: number): number {
  return 2 * batchSize * partitions + BACKLOG_SECONDS * podFps;
}

/** Adds a pod at {@link CPU_TARGET} percent of the CPU request. Decoding JPEGs makes CPU use follow the frame rate. */
export function horizontalPodAutoscaler({ replicas }: Manifests['inference']): KubernetesObject {
  return ours('autoscaling/v2 HorizontalPodAutoscaler', SERVICE, {
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
  });
}

/**
 * One ScaledObject with both triggers. KEDA creates a HorizontalPodAutoscaler for it, and a second one would conflict.
 * The CPU trigger follows the load. The lag trigger starts the first pod, and adds pods after an outage.
 * @see https://keda.sh/docs/latest/scalers/apache-kafka-go/
 */
export function keda({ inference, settings, kafka }: Manifests): KubernetesObject[] {
  const { replicas, hours } = inference;
  const authentication = `${SERVICE}-kafka`;
  return [
    ours('keda.sh/v1alpha1 TriggerAuthentication', authentication, {
      // By EKS Pod Identity, with the role of KEDA's operator.
      spec: { podIdentity: { provider: 'aws' } },
    }),
    ours('keda.sh/v1alpha1 ScaledObject', SERVICE, {
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
              consumerGroup: settings.KAFKA_GROUP_ID,
              topic: settings.KAFKA_TOPIC,
              lagThreshold: String(lagPerPod(kafka.partitions, settings.BATCH_SIZE, GPU_FPS)),
              activationLagThreshold: '0',
              // The mapping starts there, too. With `latest` a partition without a commit would count as one record.
              offsetResetPolicy: 'earliest',
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
    }),
  ];
}

/** The canary that the deploying shell requests: its pods, and its variables for detect. */
export function canaryOf({ replicas }: Manifests['inference']) {
  const { MODEL_CANARY: image, INFERENCE_CANARY_SHARE: share, INFERENCE_CANARY_MODE: mode } = deployment();
  if (!image) return undefined;
  return {
    image,
    // Enough pods for this share of the work at full load.
    replicas: Math.max(1, Math.ceil(replicas.max * share)),
    environment: { INFERENCE_CANARY_SHARE: String(share), INFERENCE_CANARY_MODE: mode },
  };
}
