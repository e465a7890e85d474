import { arnHere } from './arn.ts';
import type { createNetwork, Group } from './network.ts';
import type { Stage } from './stages.ts';

type Network = ReturnType<typeof createNetwork>;

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

/**
 * A secret that ECS passes to a task as a variable.
 * @param options.path name of the secret, after the names of app and stage
 * @returns ARN of the secret, and ARN of this version
 */
export function createSecret(
  stage: Stage,
  options: { name: string; path: string; value: $util.Input<string>; keep?: boolean },
) {
  const { name, path, value, keep = false } = options;
  const secret = new aws.secretsmanager.Secret(name, {
    name: `${$app.name}/${$app.stage}/${path}`,
    recoveryWindowInDays: stage.protect ? 30 : 0,
  });
  const version = new aws.secretsmanager.SecretVersion(
    `${name}Version`,
    { secretId: secret.id, secretString: $util.secret(value) },
    { ignoreChanges: keep ? ['secretString'] : [] },
  );
  return { arn: secret.arn, version: $interpolate`${secret.arn}:::${version.versionId}` };
}

/** Runs a task's containers with a read-only root file system and without Linux capabilities. */
export function harden(args: aws.ecs.TaskDefinitionArgs): undefined {
  changeContainers(args, ({ linuxParameters }) => ({
    readonlyRootFilesystem: true,
    linuxParameters: { ...linuxParameters, capabilities: { drop: ['ALL'] } },
  }));
}

function changeContainers(
  args: aws.ecs.TaskDefinitionArgs,
  change: (container: Record<string, any>) => Record<string, unknown>,
): void {
  args.containerDefinitions = $output(args.containerDefinitions).apply((json) =>
    JSON.stringify(JSON.parse(json).map((one: Record<string, any>) => ({ ...one, ...change(one) }))),
  );
}

/** New tasks did not become healthy, and ECS returned to the old ones. */
export class RolledBackError extends Error {
  override readonly name = 'RolledBackError';
}

/**
 * Fails a deploy when ECS rolled a service back. AWS's provider reports a success then: it waits for a steady state,
 * and the old tasks reach one.
 * @see https://github.com/hashicorp/terraform-provider-aws/issues/20858
 */
export function refuseRollback(name: string, service: sst.aws.Service): void {
  if ($dev) return;
  const { nodes } = service;
  $resolve([nodes.service.taskDefinition, nodes.taskDefinition.arn]).apply(([runs, wanted]) => {
    if (runs !== wanted)
      throw new RolledBackError(
        `${name} runs ${runs}, as tasks of ${wanted} did not get healthy: see its log, and its events in ECS`,
      );
  });
}

/** Gives a task's containers a writable `/tmp`. The image must declare it as a volume, or only root can write to it. */
export function giveTmp(args: aws.ecs.TaskDefinitionArgs): void {
  args.volumes = [{ name: 'tmp' }];
  changeContainers(args, () => ({ mountPoints: [{ sourceVolume: 'tmp', containerPath: '/tmp' }] }));
}

/** Permissions of a task itself: only these statements. */
export function taskRole(statements: sst.aws.FunctionPermissionArgs[]) {
  return { inlinePolicies: statements.length > 0 ? [inline(statements)] : [] };
}

/** Permissions of ECS to start a task. SST's own role allows every parameter, every secret and every log group. */
export function executionRole(logs: string, secrets: $util.Output<string>[]) {
  const statements = [
    // A registry token has no narrower resource.
    { actions: ['ecr:GetAuthorizationToken'], resources: ['*'] },
    {
      actions: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
      resources: [arnHere('ecr', `repository/${$app.name}/*`)],
    },
    {
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [arnHere('logs', `log-group:${logs}:*`)],
    },
    { actions: ['secretsmanager:GetSecretValue'], resources: secrets },
  ].filter(({ resources }) => resources.length > 0);
  return { managedPolicyArns: [], inlinePolicies: [inline(statements)] };
}

/** The only policy of a role. */
export function inline(statements: unknown[]) {
  return { name: 'inline', policy: aws.iam.getPolicyDocumentOutput({ statements: statements as any }).json };
}
