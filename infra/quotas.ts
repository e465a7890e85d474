import { mostNodes } from './kubernetes.ts';
import { canaryOf } from './scaling.ts';
import { COMPACTING, deployedStages, functionsOf, runsAsTasks, type Stage } from './stages.ts';

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

/** vCPUs of a GPU node, an xlarge. */
const GPU_NODE_VCPU = 4;
const TEST_CAMERA_VCPU = 0.25;
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
  const gpuVcpu = nodes * GPU_NODE_VCPU;
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
  ];
  return quotas.filter(({ need }) => need > 0);
}
