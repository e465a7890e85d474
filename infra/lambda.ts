import { keepLogs, logGroupName } from './logs.ts';
import type { Group, Network } from './network.ts';
import { trust } from './roles.ts';
import { title } from './settings.ts';
import type { Lambda, Stage } from './stages.ts';

interface LambdaArgs
  extends Lambda,
    Pick<sst.aws.FunctionArgs, 'handler' | 'environment' | 'concurrency' | 'storage'> {
  stage: Stage;
  /** Name of its log group. */
  part: string;
  /** Name of its resources; by default `part` with a capital letter. */
  name?: string;
  permissions: sst.aws.FunctionPermissionArgs[];
  /** Without it, the function is not in the VPC. */
  within?: { network: Network; group: Group };
  /** Packages that are installed beside the bundle, with their versions. */
  install?: Record<string, string>;
}

/** For Lambda's network interfaces in the VPC. AWS supports no narrower resource for these actions. */
const INTERFACES = {
  actions: [
    'ec2:AssignPrivateIpAddresses',
    'ec2:UnassignPrivateIpAddresses',
    'ec2:CreateNetworkInterface',
    'ec2:DeleteNetworkInterface',
    'ec2:DescribeNetworkInterfaces',
    'ec2:DescribeSubnets',
  ],
  resources: ['*'],
};

/** A Lambda function with a log group of its own, and with no other permissions than those given. */
export function createLambda(spec: LambdaArgs) {
  const { stage, part, name = title(part), memoryMb, timeoutSeconds, ...rest } = spec;
  const { permissions, within, install, ...args } = rest;
  const logs = keepLogs(stage, `${title(part)}Logs`, logGroupName(part));
  const fn = new sst.aws.Function(name, {
    ...args,
    runtime: 'nodejs24.x',
    architecture: 'arm64',
    memory: `${memoryMb} MB`,
    timeout: `${timeoutSeconds} seconds`,
    logging: { logGroup: logs.name, format: 'json' },
    permissions: [
      ...permissions,
      ...(within ? [INTERFACES] : []),
      { actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [$interpolate`${logs.arn}:*`] },
    ],
    nodejs: { install, minify: true },
    // In `sst dev` the function only forwards its events to the developer's machine, over the public internet.
    vpc:
      within && !$dev
        ? { securityGroups: [within.group.id], privateSubnets: within.network.vpc.privateSubnets }
        : undefined,
    // SST's managed policies allow every log group. The permissions above are enough. By SST's trust policy every
    // principal of the account could assume the role. Only `sst dev` needs that, but SST's condition is always true.
    transform: {
      role: { managedPolicyArns: [], ...(!$dev && { assumeRolePolicy: trust('lambda.amazonaws.com') }) },
    },
  });
  return { fn, logs };
}
