import { arnHere } from './arn.ts';
import type { Group, Network } from './network.ts';
import { inline, pullsImages } from './roles.ts';
import { reading, type Secrets, versionsOf } from './secrets.ts';
import type { Stage } from './stages.ts';

/** A cluster whose tasks run in private subnets and in one security group. */
export function createCluster(
  network: Network,
  group: Group,
  options: { name: string; loadBalancerSubnets?: $util.Input<$util.Input<string>[]>; clusterName?: string },
): sst.aws.Cluster {
  const { cloudmapNamespace } = network.vpc.nodes;
  return new sst.aws.Cluster(options.name, {
    vpc: {
      id: network.vpc.id,
      securityGroups: [group.id],
      containerSubnets: network.vpc.privateSubnets,
      loadBalancerSubnets: options.loadBalancerSubnets ?? network.vpc.privateSubnets,
      cloudmapNamespaceId: cloudmapNamespace.id,
      cloudmapNamespaceName: cloudmapNamespace.name,
    },
    transform: { cluster: options.clusterName ? { name: options.clusterName } : undefined },
  });
}

interface ServiceSpec
  extends Omit<sst.aws.ServiceArgs, 'architecture' | 'capacity' | 'logging' | 'ssm' | 'transform'> {
  stage: Stage;
  /** Name of its log group. */
  logs: string;
  /** Whether it runs on spare capacity, which AWS may take away. */
  spot: boolean;
  /** Permissions of the task itself: only these. */
  permissions?: sst.aws.FunctionPermissionArgs[];
  /** Secrets that ECS passes to the task. */
  secrets?: Secrets;
  /** Whether its containers may write to `/tmp`. The image must declare it as a volume, or only root can. */
  tmp?: boolean;
  /** What must exist before it. */
  after?: $util.Resource[];
  /** Changes what SST has no option for. */
  changeTask?: (args: aws.ecs.TaskDefinitionArgs) => void;
  changeService?: (args: aws.ecs.ServiceArgs) => void;
  transform?: Omit<NonNullable<sst.aws.ServiceArgs['transform']>, 'service' | 'taskDefinition'>;
}

/**
 * A service whose tasks have a read-only root file system, no Linux capabilities, and no shell from outside. With
 * `wait`, a deploy fails if the tasks do not become healthy.
 */
export function createService(name: string, spec: ServiceSpec): sst.aws.Service {
  const { stage, logs, spot, permissions = [], secrets = {}, tmp, after = [], ...rest } = spec;
  const { changeTask, changeService, ...args } = rest;
  const service = new sst.aws.Service(name, {
    ...args,
    architecture: 'arm64',
    capacity: spot ? 'spot' : undefined,
    logging: { name: logs, retention: stage.logRetention },
    ssm: versionsOf(secrets),
    transform: {
      ...args.transform,
      taskRole: { inlinePolicies: permissions.length > 0 ? [inline(permissions)] : [] },
      executionRole: executionRole(logs, secrets),
      taskDefinition: (task) => {
        harden(task, tmp);
        changeTask?.(task);
      },
      service: (service, options) => {
        service.enableExecuteCommand = false;
        // It needs the cluster's capacity providers, too.
        options.dependsOn = [spec.cluster, ...after];
        // Autoscaling sets the number of tasks: a deploy would reset it to the minimum, even under load.
        if (spec.scaling) options.ignoreChanges = ['desiredCount'];
        changeService?.(service);
      },
    },
  });
  if (args.wait) refuseRollback(name, service);
  return service;
}

function harden(args: aws.ecs.TaskDefinitionArgs, tmp = false): void {
  if (tmp) args.volumes = [{ name: 'tmp' }];
  const { containerDefinitions: json, memory } = args;
  args.containerDefinitions = $resolve({ json, memory }).apply(({ json, memory }) =>
    JSON.stringify(
      JSON.parse(json).map((one: Record<string, any>) => ({
        ...one,
        // Node limits its heap by the container's limit. Without one it would plan with the host's memory.
        memory: Number(memory),
        // SST gives a container a terminal, but our processes write no metrics to a terminal.
        pseudoTerminal: false,
        readonlyRootFilesystem: true,
        linuxParameters: { ...one.linuxParameters, capabilities: { drop: ['ALL'] } },
        ...(tmp && { mountPoints: [{ sourceVolume: 'tmp', containerPath: '/tmp' }] }),
      })),
    ),
  );
}

/**
 * Fails a deploy when ECS rolled a service back. AWS's provider would report a success: it waits for a steady state,
 * and the old tasks reach one.
 * @see https://github.com/hashicorp/terraform-provider-aws/issues/20858
 */
function refuseRollback(name: string, service: sst.aws.Service): void {
  if ($dev) return;
  const { nodes } = service;
  $resolve([nodes.service.taskDefinition, nodes.taskDefinition.arn]).apply(([runs, wanted]) => {
    if (runs !== wanted)
      throw new Error(
        `${name} runs ${runs}, as tasks of ${wanted} did not become healthy: see its log, and its events in ECS`,
      );
  });
}

/** Permissions of ECS to start a task. SST's own role allows every parameter, every secret and every log group. */
function executionRole(logs: string, secrets: Secrets) {
  const statements = [
    ...pullsImages(),
    {
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [arnHere('logs', `log-group:${logs}:*`)],
    },
    ...reading(secrets),
  ];
  return { managedPolicyArns: [], inlinePolicies: [inline(statements)] };
}
