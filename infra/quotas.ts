import { mostNodes } from './kubernetes.ts';
import { canaryOf, GPU_NODE } from './scaling.ts';
import { COMPACTING, deployedStages, functionsOf, HOST_SIZES, runsAsTasks, type Stage } from './stages.ts';

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

const TEST_CAMERA_VCPU = 0.25;
/** Small nodes that Auto Mode starts for KEDA and the add-ons, with one that replaces another, and vCPUs of each. */
const OTHER_NODES = { count: 3, vcpu: 2 };
/** vCPUs of a NAT instance or bastion, a t4g.nano. */
const NAT_VCPU = 2;
/** Quotas of SageMaker's instances. */
const ENDPOINT_CODES = { 'ml.g5.xlarge': 'L-1928E07B', 'ml.g6.xlarge': 'L-D470D954' };
/** Concurrency that Lambda keeps for functions without a reservation. */
const UNRESERVED = 100;

/** What a stage needs of the quotas that could stop its first deploy, computed from its row. */
export function quotasOf(stage: Stage, cameras: number): Quota[] {
  const { network, kafka, inference, ingest } = stage;
  const tasks = Math.ceil(cameras / ingest.streamsPerTask);
  // A deploy ends an old task before it starts the new one; two of the test camera may run.
  const taskVcpu = tasks * Number.parseFloat(ingest.cpu) + (ingest.testCamera ? 2 * TEST_CAMERA_VCPU : 0);
  const { workers } = stage.functions;
  const working = deployedStages(stage).filter(({ of }) => runsAsTasks(stage, of)).length;
  const workersVcpu = workers ? working * workers.tasks.max * Number.parseFloat(workers.cpu) : 0;
  const fargateVcpu = (capacity: 'fargate' | 'spot') =>
    (ingest.capacity === capacity ? taskVcpu : 0) + (workers?.capacity === capacity ? workersVcpu : 0);
  const spotGpu = inference.backend === 'eks' && inference.gpu.capacity.includes('spot');
  const nodes = inference.backend === 'eks' ? mostNodes({ inference, canary: canaryOf(inference) }) : 0;
  const gpuVcpu = nodes * GPU_NODE.vcpus;
  const hostsVcpu = ingest.capacity === 'ec2' ? ingest.maxInstances * HOST_SIZES[ingest.instance].vcpu : 0;
  const otherVcpu =
    (inference.backend === 'eks' ? OTHER_NODES.count * OTHER_NODES.vcpu : 0) +
    // Without NAT instances the bastion is an instance of its own.
    (network.nat === 'ec2' ? network.zones : network.tunnel ? 1 : 0) * NAT_VCPU +
    hostsVcpu;
  const quotas: Quota[] = [
    { name: 'EC2-VPC Elastic IPs', service: 'ec2', code: 'L-0263D0A3', usual: 5, need: network.zones },
    // A region has one VPC by default: it counts as in use.
    { name: 'VPCs per Region', service: 'vpc', code: 'L-F678F1CE', usual: 5, need: 1 },
    {
      name: 'Concurrent executions',
      service: 'lambda',
      code: 'L-B99A9384',
      usual: 1000,
      // Each function reserves one invocation for each partition.
      need: functionsOf(stage).length * kafka.partitions + COMPACTING,
      besides: UNRESERVED,
    },
    {
      name: 'Running On-Demand Standard instances',
      service: 'ec2',
      code: 'L-1216C47A',
      usual: 5,
      need: otherVcpu,
    },
    {
      name: 'Running On-Demand G and VT instances',
      service: 'ec2',
      code: 'L-DB2E81BA',
      usual: 0,
      need: inference.backend === 'eks' && inference.gpu.capacity.includes('on-demand') ? gpuVcpu : 0,
    },
    {
      name: 'All G and VT Spot Instance Requests',
      service: 'ec2',
      code: 'L-3819A6DF',
      usual: 0,
      need: spotGpu ? gpuVcpu : 0,
    },
    {
      name: 'Fargate On-Demand vCPU resource count',
      service: 'fargate',
      code: 'L-3032A538',
      usual: 6,
      need: fargateVcpu('fargate'),
    },
    {
      name: 'Fargate Spot vCPU resource count',
      service: 'fargate',
      code: 'L-36FBB829',
      usual: 6,
      need: fargateVcpu('spot'),
    },
    ...sageMakerQuotas(inference),
  ];
  return quotas.filter(({ need }) => need > 0);
}

function sageMakerQuotas(inference: Stage['inference']): Quota[] {
  if (inference.backend === 'eks') return [];
  const service = 'sagemaker';
  if (inference.backend === 'sagemaker-serverless')
    return [
      {
        name: 'Concurrency of serverless endpoints',
        service,
        code: 'L-96300102',
        usual: 10,
        need: inference.maxConcurrency,
      },
    ];
  const { instance, replicas } = inference;
  // An update runs the new instances beside the old ones.
  const need = 2 * replicas.max;
  return [
    { name: `${instance} for endpoint usage`, service, code: ENDPOINT_CODES[instance], usual: 0, need },
  ];
}
