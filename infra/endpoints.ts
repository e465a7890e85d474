import type { Stage } from './stages.ts';

/** AWS APIs that private subnets call. A mapping's pollers run in Kafka's subnets and need `lambda` and `sts`. */
const INTERFACE_ENDPOINTS = ['lambda', 'sts', 'ecr.api', 'ecr.dkr', 'events', 'logs', 'secretsmanager'];
/** Further APIs that the agent of an EC2 instance calls. */
const ECS_ENDPOINTS = ['ecs', 'ecs-agent', 'ecs-telemetry'];

/** The AWS APIs that a stage's private subnets reach by interface endpoints. */
export function endpointsOf({ network, ingest, inference }: Stage): string[] {
  if (!network.endpoints) return [];
  return [
    ...INTERFACE_ENDPOINTS,
    ...(inference.backend === 'eks' ? [] : ['sagemaker.runtime']),
    ...(ingest.capacity === 'ec2' ? ECS_ENDPOINTS : []),
  ];
}
