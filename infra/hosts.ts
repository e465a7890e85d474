import { arnHere } from './arn.ts';
import { createGroup, type Group, METADATA, type Network, reachAws, reachS3 } from './network.ts';
import { createRole, rolePrefix } from './roles.ts';
import type { IngestHosts, Stage } from './stages.ts';

/** Amazon Linux for ECS on Graviton: each new instance gets the newest image. */
const IMAGE = 'resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id';
const ROOT_VOLUME = {
  deviceName: '/dev/xvda',
  ebs: { volumeSize: 30, volumeType: 'gp3', encrypted: 'true', deleteOnTermination: 'true' },
};

/**
 * EC2 instances that ECS starts when tasks need them, and ends when no task does: those of one ECS cluster, in private
 * subnets, without inbound rules.
 */
export function createHosts(
  stage: Stage,
  network: Network,
  { instance, maxInstances }: IngestHosts,
  clusterName: string,
): aws.ecs.CapacityProvider {
  // The instance's agent pulls the image, reads the secret and writes the log.
  const group = createGroup(network.vpc, 'IngestHosts');
  reachAws(network, group);
  reachS3(network, group);
  const template = createTemplate(stage, instance, group, clusterName);
  const instances = new aws.autoscaling.Group('IngestHosts', {
    vpcZoneIdentifiers: network.vpc.privateSubnets,
    minSize: 0,
    maxSize: maxInstances,
    launchTemplate: { id: template.id, version: $interpolate`${template.latestVersion}` },
    // ECS removes the protection of an instance once its tasks have ended.
    protectFromScaleIn: true,
    forceDelete: !stage.protect,
    // The provider's default tags apply neither to the instances nor to an Auto Scaling group.
    tags: Object.entries({ ...stage.tags, Name: clusterName, AmazonECSManaged: '' }).map(([key, value]) => ({
      key,
      value,
      propagateAtLaunch: true,
    })),
  });
  return new aws.ecs.CapacityProvider('IngestHosts', {
    name: clusterName,
    autoScalingGroupProvider: {
      autoScalingGroupArn: instances.arn,
      managedScaling: { status: 'ENABLED', targetCapacity: 100 },
      managedTerminationProtection: 'ENABLED',
      managedDraining: 'ENABLED',
    },
  });
}

function createTemplate(
  stage: Stage,
  instanceType: string,
  group: Group,
  clusterName: string,
): aws.ec2.LaunchTemplate {
  const profile = new aws.iam.InstanceProfile('IngestHostsProfile', {
    namePrefix: rolePrefix(),
    role: createAgentRole(clusterName).name,
  });
  return new aws.ec2.LaunchTemplate('IngestHosts', {
    imageId: IMAGE,
    instanceType,
    vpcSecurityGroupIds: [group.id],
    iamInstanceProfile: { arn: profile.arn },
    metadataOptions: METADATA,
    blockDeviceMappings: [ROOT_VOLUME],
    tagSpecifications: ['instance', 'volume', 'network-interface'].map((resourceType) => ({
      resourceType,
      tags: stage.tags,
    })),
    userData: Buffer.from(userData(clusterName)).toString('base64'),
  });
}

/** @see https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html */
function userData(clusterName: string): string {
  return `#!/bin/bash
cat >> /etc/ecs/ecs.config <<'END'
ECS_CLUSTER=${clusterName}
ECS_AWSVPC_BLOCK_IMDS=true
ECS_DISABLE_PRIVILEGED=true
ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true
END
`;
}

/**
 * Permissions of the agent itself. For image, secret and log it uses the task's execution role.
 * @see https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
 */
function createAgentRole(clusterName: string): aws.iam.Role {
  const ecs = (resource: $util.Input<string>, ...actions: string[]) => ({
    actions: actions.map((action) => `ecs:${action}`),
    resources: [resource],
  });
  return createRole('IngestHostsRole', 'ec2.amazonaws.com', {
    statements: [
      ecs(
        arnHere('ecs', `cluster/${clusterName}`),
        'DeregisterContainerInstance',
        'RegisterContainerInstance',
        'SubmitAttachmentStateChanges',
        'SubmitContainerStateChange',
        'SubmitTaskStateChange',
      ),
      ecs(
        arnHere('ecs', `container-instance/${clusterName}/*`),
        'Poll',
        'StartTelemetrySession',
        'UpdateContainerInstancesState',
      ),
      // This action has no narrower resource.
      ecs('*', 'DiscoverPollEndpoint'),
    ],
  });
}
