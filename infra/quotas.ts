import { type Camera, cameraConnections } from './cameras.ts';
import { maxNodes } from './kubernetes.ts';
import { canaryOf, GPU_NODE } from './scaling.ts';
import {
  COMPACTING,
  deployedStages,
  functionsOf,
  HOST_SIZES,
  hasBastion,
  runsAsTasks,
  type Stage,
  TASKS,
} from './stages.ts';

/** One of AWS's quotas, and the stage's share of it. */
export interface Quota {
  /** Name in Service Quotas. */
  name: string;
  service: string;
  code: string;
  /** AWS's default for an account. The newest accounts may have less. */
  usual: number;
  /** What the stage needs. */
  need: number;
  /** What the quota must hold in addition, because AWS keeps it free. */
  besides?: number;
}

/** Small nodes that Auto Mode starts for KEDA and the add-ons, with one that replaces another, and vCPUs of each. */
const OTHER_NODES = { count: 3, vcpu: 2 };
/** vCPUs of a NAT instance or bastion, a t4g.nano. */
const NAT_VCPU = 2;
/** Quotas of SageMaker's instances. */
const ENDPOINT_CODES = { 'ml.g5.xlarge': 'L-1928E07B', 'ml.g6.xlarge': 'L-D470D954' };
/** Concurrency that Lambda keeps for functions without a reservation. */
const UNRESERVED = 100;

/** Outbound rules of ingest's group beside those to cameras: Kafka, AWS's APIs, S3, the collector, the test camera. */
const OTHER_RULES = 5;

/** What a stage needs of the quotas that could stop its first deploy, computed from its row and its cameras. */
export function quotasOf(stage: Stage, cameras: number, list: readonly Camera[] = []): Quota[] {
  const { network, kafka, inference, ingest } = stage;
  const tasks = Math.ceil(cameras / ingest.streamsPerTask);
  // A deploy ends an old task before it starts the new one; two of the test camera may run.
  const taskVcpu =
    tasks * Number.parseFloat(ingest.cpu) +
    (ingest.testCamera ? 2 * Number.parseFloat(TASKS.testCamera.cpu) : 0);
  const { workers } = stage.functions;
  const working = deployedStages(stage).filter(({ step }) => runsAsTasks(stage, step)).length;
  const workersVcpu = workers ? working * workers.tasks.max * Number.parseFloat(workers.cpu) : 0;
  const fargateVcpu = (capacity: 'fargate' | 'spot') =>
    (ingest.capacity === capacity ? taskVcpu : 0) + (workers?.capacity === capacity ? workersVcpu : 0);
  const gpuVcpu = (capacity: 'spot' | 'on-demand') =>
    inference.backend === 'eks' && inference.gpu.capacity.includes(capacity)
      ? maxNodes({ inference, canary: canaryOf(inference) }) * GPU_NODE.vcpus
      : 0;
  const hostsVcpu = ingest.capacity === 'ec2' ? ingest.maxInstances * HOST_SIZES[ingest.instance].vcpu : 0;
  const otherVcpu =
    (inference.backend === 'eks' ? OTHER_NODES.count * OTHER_NODES.vcpu : 0) +
    (network.nat === 'ec2' ? network.zones : Number(hasBastion(network))) * NAT_VCPU +
    hostsVcpu;
  // Each function reserves one invocation for each partition.
  const invocations = functionsOf(stage).length * kafka.partitions + COMPACTING;
  const rules = cameraConnections(stage, list).length + OTHER_RULES;
  const quotas: Quota[] = [
    ec2('EC2-VPC Elastic IPs', 'L-0263D0A3', 5, network.zones),
    // A region has one VPC by default: it counts as in use.
    quota('vpc', 'VPCs per Region', 'L-F678F1CE', 5, 1),
    quota('vpc', 'Inbound or outbound rules per security group', 'L-0EA8095F', 60, rules),
    { ...quota('lambda', 'Concurrent executions', 'L-B99A9384', 1000, invocations), besides: UNRESERVED },
    ec2('Running On-Demand Standard instances', 'L-1216C47A', 5, otherVcpu),
    ec2('Running On-Demand G and VT instances', 'L-DB2E81BA', 0, gpuVcpu('on-demand')),
    ec2('All G and VT Spot Instance Requests', 'L-3819A6DF', 0, gpuVcpu('spot')),
    quota('fargate', 'Fargate On-Demand vCPU resource count', 'L-3032A538', 6, fargateVcpu('fargate')),
    quota('fargate', 'Fargate Spot vCPU resource count', 'L-36FBB829', 6, fargateVcpu('spot')),
    ...sageMakerQuotas(inference),
  ];
  return quotas.filter(({ need }) => need > 0);
}

function quota(service: string, name: string, code: string, usual: number, need: number): Quota {
  return { name, service, code, usual, need };
}

const ec2 = (...row: [name: string, code: string, usual: number, need: number]) => quota('ec2', ...row);

function sageMakerQuotas(inference: Stage['inference']): Quota[] {
  if (inference.backend === 'eks') return [];
  if (inference.backend === 'sagemaker-serverless') {
    const { maxConcurrency } = inference;
    return [quota('sagemaker', 'Concurrency of serverless endpoints', 'L-96300102', 10, maxConcurrency)];
  }
  const { instance, replicas } = inference;
  // An update runs the new instances beside the old ones.
  const need = 2 * replicas.max;
  return [quota('sagemaker', `${instance} for endpoint usage`, ENDPOINT_CODES[instance], 0, need)];
}
