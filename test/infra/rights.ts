/**
 * Lambda keeps a removed function's interfaces for up to half an hour, and while they are there no group or subnet of theirs
 * can be deleted. The provider waits, then takes them away.
 * @see https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/ec2/vpc_network_interface.go,
 *   deleteLingeringENIs
 */
const LINGERING = 'ec2:DescribeNetworkInterfaces ec2:DetachNetworkInterface ec2:DeleteNetworkInterface';

/**
 * IAM actions that AWS's provider needs to create, read, change and remove a resource of each type.
 * `calls.ts` has the calls that create one, and `rights.test.ts` compares both.
 */
export const RIGHTS: Record<string, string> = {
  'aws:acm/certificate:Certificate':
    'acm:RequestCertificate acm:DescribeCertificate acm:DeleteCertificate acm:AddTagsToCertificate acm:RemoveTagsFromCertificate acm:ListTagsForCertificate',
  'aws:acm/certificateValidation:CertificateValidation': 'acm:DescribeCertificate',
  'aws:appautoscaling/policy:Policy':
    'application-autoscaling:PutScalingPolicy application-autoscaling:DescribeScalingPolicies application-autoscaling:DeleteScalingPolicy',
  'aws:appautoscaling/target:Target':
    'application-autoscaling:RegisterScalableTarget application-autoscaling:DescribeScalableTargets application-autoscaling:DeregisterScalableTarget application-autoscaling:TagResource application-autoscaling:ListTagsForResource ' +
    // The caller that registers a target needs the rights to scale it.
    'ecs:DescribeServices ecs:UpdateService kafka:DescribeCluster kafka:DescribeClusterOperation kafka:UpdateBrokerStorage sagemaker:DescribeEndpoint sagemaker:DescribeEndpointConfig sagemaker:UpdateEndpointWeightsAndCapacities',
  'aws:autoscaling/group:Group':
    'autoscaling:CreateAutoScalingGroup autoscaling:DescribeAutoScalingGroups autoscaling:DescribeScalingActivities autoscaling:UpdateAutoScalingGroup autoscaling:DeleteAutoScalingGroup autoscaling:CreateOrUpdateTags autoscaling:DeleteTags autoscaling:SetInstanceProtection',
  'aws:cloudwatch/dashboard:Dashboard':
    'cloudwatch:PutDashboard cloudwatch:GetDashboard cloudwatch:DeleteDashboards',
  'aws:cloudwatch/eventBus:EventBus':
    'events:CreateEventBus events:DescribeEventBus events:DeleteEventBus events:TagResource events:UntagResource events:ListTagsForResource',
  'aws:cloudwatch/eventRule:EventRule':
    'events:PutRule events:DescribeRule events:DeleteRule events:TagResource events:UntagResource events:ListTagsForResource',
  'aws:cloudwatch/eventTarget:EventTarget': 'events:PutTargets events:ListTargetsByRule events:RemoveTargets',
  'aws:cloudwatch/logDelivery:LogDelivery':
    'logs:CreateDelivery logs:GetDelivery logs:UpdateDeliveryConfiguration logs:DeleteDelivery logs:TagResource logs:UntagResource logs:ListTagsForResource',
  // The caller that enables a log delivery also allows AWS to write into the group.
  'aws:cloudwatch/logDeliveryDestination:LogDeliveryDestination':
    'logs:PutDeliveryDestination logs:GetDeliveryDestination logs:DeleteDeliveryDestination logs:PutResourcePolicy logs:DescribeResourcePolicies logs:TagResource logs:UntagResource logs:ListTagsForResource',
  'aws:cloudwatch/logDeliverySource:LogDeliverySource':
    'logs:PutDeliverySource logs:GetDeliverySource logs:DeleteDeliverySource eks:AllowVendedLogDeliveryForResource logs:TagResource logs:UntagResource logs:ListTagsForResource',
  'aws:cloudwatch/logMetricFilter:LogMetricFilter':
    'logs:PutMetricFilter logs:DescribeMetricFilters logs:DeleteMetricFilter',
  'aws:cloudwatch/logGroup:LogGroup':
    'logs:CreateLogGroup logs:DescribeLogGroups logs:PutRetentionPolicy logs:DeleteRetentionPolicy logs:DeleteLogGroup logs:TagResource logs:UntagResource logs:ListTagsForResource',
  'aws:cloudwatch/metricAlarm:MetricAlarm':
    'cloudwatch:PutMetricAlarm cloudwatch:DescribeAlarms cloudwatch:DeleteAlarms cloudwatch:TagResource cloudwatch:UntagResource cloudwatch:ListTagsForResource',
  'aws:cloudwatch/queryDefinition:QueryDefinition':
    'logs:PutQueryDefinition logs:DescribeQueryDefinitions logs:DeleteQueryDefinition',
  'aws:cognito/userPool:UserPool':
    'cognito-idp:CreateUserPool cognito-idp:DescribeUserPool cognito-idp:UpdateUserPool cognito-idp:DeleteUserPool cognito-idp:SetUserPoolMfaConfig cognito-idp:GetUserPoolMfaConfig cognito-idp:TagResource cognito-idp:UntagResource cognito-idp:ListTagsForResource',
  'aws:cognito/userPoolClient:UserPoolClient':
    'cognito-idp:CreateUserPoolClient cognito-idp:DescribeUserPoolClient cognito-idp:UpdateUserPoolClient cognito-idp:DeleteUserPoolClient',
  'aws:cognito/userPoolDomain:UserPoolDomain':
    'cognito-idp:CreateUserPoolDomain cognito-idp:DescribeUserPoolDomain cognito-idp:DeleteUserPoolDomain',
  'aws:ec2/defaultSecurityGroup:DefaultSecurityGroup':
    'ec2:DescribeSecurityGroups ec2:RevokeSecurityGroupIngress ec2:RevokeSecurityGroupEgress ec2:AuthorizeSecurityGroupIngress ec2:AuthorizeSecurityGroupEgress ec2:CreateTags',
  'aws:ec2/eip:Eip':
    'ec2:AllocateAddress ec2:DescribeAddresses ec2:DescribeAddressesAttribute ec2:ReleaseAddress ec2:DisassociateAddress ec2:CreateTags ec2:DeleteTags',
  'aws:ec2/eipAssociation:EipAssociation':
    'ec2:AssociateAddress ec2:DescribeAddresses ec2:DisassociateAddress',
  'aws:ec2/instance:Instance':
    'ec2:RunInstances ec2:DescribeInstances ec2:DescribeInstanceAttribute ec2:DescribeInstanceTypes ec2:DescribeInstanceCreditSpecifications ec2:DescribeVolumes ec2:DescribeTags ec2:DescribeImages ec2:ModifyInstanceAttribute ec2:ModifyInstanceMetadataOptions ec2:StartInstances ec2:StopInstances ec2:TerminateInstances ec2:CreateTags ec2:DeleteTags',
  'aws:ec2/internetGateway:InternetGateway':
    'ec2:CreateInternetGateway ec2:AttachInternetGateway ec2:DescribeInternetGateways ec2:DetachInternetGateway ec2:DeleteInternetGateway ec2:CreateTags',
  'aws:ec2/keyPair:KeyPair': 'ec2:ImportKeyPair ec2:DescribeKeyPairs ec2:DeleteKeyPair ec2:CreateTags',
  'aws:ec2/launchTemplate:LaunchTemplate':
    'ec2:CreateLaunchTemplate ec2:CreateLaunchTemplateVersion ec2:ModifyLaunchTemplate ec2:DescribeLaunchTemplates ec2:DescribeLaunchTemplateVersions ec2:DeleteLaunchTemplate ec2:CreateTags',
  'aws:ec2/natGateway:NatGateway':
    'ec2:CreateNatGateway ec2:DescribeNatGateways ec2:DeleteNatGateway ec2:CreateTags',
  'aws:ec2/routeTable:RouteTable':
    'ec2:CreateRouteTable ec2:CreateRoute ec2:ReplaceRoute ec2:DeleteRoute ec2:DescribeRouteTables ec2:DeleteRouteTable ec2:CreateTags',
  'aws:ec2/routeTableAssociation:RouteTableAssociation':
    'ec2:AssociateRouteTable ec2:ReplaceRouteTableAssociation ec2:DescribeRouteTables ec2:DisassociateRouteTable',
  'aws:ec2/securityGroup:SecurityGroup':
    'ec2:CreateSecurityGroup ec2:AuthorizeSecurityGroupIngress ec2:AuthorizeSecurityGroupEgress ec2:RevokeSecurityGroupIngress ec2:RevokeSecurityGroupEgress ec2:DescribeSecurityGroups ec2:DeleteSecurityGroup ec2:CreateTags ec2:DeleteTags ' +
    LINGERING,
  'aws:ec2/subnet:Subnet':
    'ec2:CreateSubnet ec2:ModifySubnetAttribute ec2:DescribeSubnets ec2:DeleteSubnet ec2:CreateTags ec2:DeleteTags ' +
    LINGERING,
  'aws:ec2/vpc:Vpc':
    'ec2:CreateVpc ec2:ModifyVpcAttribute ec2:DescribeVpcs ec2:DescribeVpcAttribute ec2:DescribeNetworkAcls ec2:DescribeRouteTables ec2:DescribeSecurityGroups ec2:DeleteVpc ec2:CreateTags ec2:DeleteTags',
  'aws:ec2/vpcEndpoint:VpcEndpoint':
    'ec2:CreateVpcEndpoint ec2:ModifyVpcEndpoint ec2:DescribeVpcEndpoints ec2:DescribePrefixLists ec2:DeleteVpcEndpoints ec2:CreateTags',
  'aws:ecr/lifecyclePolicy:LifecyclePolicy':
    'ecr:PutLifecyclePolicy ecr:GetLifecyclePolicy ecr:DeleteLifecyclePolicy',
  'aws:ecr/repository:Repository':
    'ecr:CreateRepository ecr:DescribeRepositories ecr:PutImageScanningConfiguration ecr:PutImageTagMutability ecr:DeleteRepository ecr:TagResource ecr:UntagResource ecr:ListTagsForResource',
  'aws:ecs/capacityProvider:CapacityProvider':
    'ecs:CreateCapacityProvider ecs:DescribeCapacityProviders ecs:UpdateCapacityProvider ecs:DeleteCapacityProvider ecs:TagResource ecs:ListTagsForResource',
  'aws:ecs/cluster:Cluster':
    'ecs:CreateCluster ecs:DescribeClusters ecs:UpdateCluster ecs:UpdateClusterSettings ecs:DeleteCluster ecs:TagResource ecs:UntagResource ecs:ListTagsForResource',
  'aws:ecs/clusterCapacityProviders:ClusterCapacityProviders':
    'ecs:PutClusterCapacityProviders ecs:DescribeClusters',
  'aws:ecs/service:Service':
    'ecs:CreateService ecs:DescribeServices ecs:DescribeServiceDeployments ecs:ListServiceDeployments ecs:UpdateService ecs:DeleteService ecs:TagResource ecs:UntagResource ecs:ListTagsForResource',
  'aws:ecs/taskDefinition:TaskDefinition':
    'ecs:RegisterTaskDefinition ecs:DescribeTaskDefinition ecs:DeregisterTaskDefinition ecs:TagResource ecs:UntagResource ecs:ListTagsForResource',
  'aws:eks/accessEntry:AccessEntry':
    'eks:CreateAccessEntry eks:DescribeAccessEntry eks:UpdateAccessEntry eks:DeleteAccessEntry eks:TagResource eks:ListTagsForResource',
  'aws:eks/accessPolicyAssociation:AccessPolicyAssociation':
    'eks:AssociateAccessPolicy eks:ListAssociatedAccessPolicies eks:DisassociateAccessPolicy',
  'aws:eks/addon:Addon':
    'eks:CreateAddon eks:DescribeAddon eks:UpdateAddon eks:DescribeUpdate eks:DeleteAddon eks:TagResource eks:ListTagsForResource',
  'aws:eks/cluster:Cluster':
    'eks:CreateCluster eks:DescribeCluster eks:UpdateClusterConfig eks:UpdateClusterVersion eks:DescribeUpdate eks:DeleteCluster eks:TagResource eks:UntagResource eks:ListTagsForResource',
  'aws:eks/podIdentityAssociation:PodIdentityAssociation':
    'eks:CreatePodIdentityAssociation eks:DescribePodIdentityAssociation eks:UpdatePodIdentityAssociation eks:DeletePodIdentityAssociation eks:TagResource eks:ListTagsForResource',
  'aws:glue/catalogDatabase:CatalogDatabase':
    'glue:CreateDatabase glue:GetDatabase glue:UpdateDatabase glue:DeleteDatabase glue:GetTags glue:TagResource glue:UntagResource',
  'aws:glue/catalogTable:CatalogTable':
    'glue:CreateTable glue:GetTable glue:UpdateTable glue:DeleteTable glue:GetPartitionIndexes',
  'aws:iam/instanceProfile:InstanceProfile':
    'iam:CreateInstanceProfile iam:AddRoleToInstanceProfile iam:GetInstanceProfile iam:RemoveRoleFromInstanceProfile iam:DeleteInstanceProfile iam:TagInstanceProfile iam:UntagInstanceProfile',
  'aws:iam/role:Role':
    'iam:CreateRole iam:GetRole iam:UpdateRole iam:UpdateAssumeRolePolicy iam:DeleteRole iam:PutRolePolicy iam:GetRolePolicy iam:ListRolePolicies iam:DeleteRolePolicy iam:AttachRolePolicy iam:DetachRolePolicy iam:ListAttachedRolePolicies iam:ListInstanceProfilesForRole iam:TagRole iam:UntagRole',
  'aws:lambda/eventSourceMapping:EventSourceMapping':
    'lambda:CreateEventSourceMapping lambda:GetEventSourceMapping lambda:UpdateEventSourceMapping lambda:DeleteEventSourceMapping lambda:TagResource lambda:UntagResource lambda:ListTags',
  'aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig':
    'lambda:PutFunctionEventInvokeConfig lambda:GetFunctionEventInvokeConfig lambda:UpdateFunctionEventInvokeConfig lambda:DeleteFunctionEventInvokeConfig',
  'aws:lambda/permission:Permission': 'lambda:AddPermission lambda:GetPolicy lambda:RemovePermission',
  'aws:lambda/function:Function':
    'lambda:CreateFunction lambda:GetFunction lambda:GetFunctionCodeSigningConfig lambda:ListVersionsByFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration lambda:PutFunctionConcurrency lambda:DeleteFunctionConcurrency lambda:DeleteFunction lambda:TagResource lambda:UntagResource lambda:ListTags',
  'aws:lb/listener:Listener':
    'elasticloadbalancing:CreateListener elasticloadbalancing:DescribeListeners elasticloadbalancing:DescribeListenerAttributes elasticloadbalancing:ModifyListener elasticloadbalancing:DeleteListener elasticloadbalancing:AddTags elasticloadbalancing:RemoveTags elasticloadbalancing:DescribeTags cognito-idp:DescribeUserPoolClient',
  'aws:lb/listenerRule:ListenerRule':
    'elasticloadbalancing:CreateRule elasticloadbalancing:DescribeRules elasticloadbalancing:ModifyRule elasticloadbalancing:SetRulePriorities elasticloadbalancing:DeleteRule elasticloadbalancing:AddTags elasticloadbalancing:DescribeTags',
  'aws:lb/loadBalancer:LoadBalancer':
    'elasticloadbalancing:CreateLoadBalancer elasticloadbalancing:DescribeLoadBalancers elasticloadbalancing:DescribeLoadBalancerAttributes elasticloadbalancing:DescribeCapacityReservation elasticloadbalancing:ModifyLoadBalancerAttributes elasticloadbalancing:SetSecurityGroups elasticloadbalancing:SetSubnets elasticloadbalancing:DeleteLoadBalancer elasticloadbalancing:AddTags elasticloadbalancing:DescribeTags ec2:DescribeAccountAttributes',
  'aws:lb/targetGroup:TargetGroup':
    'elasticloadbalancing:CreateTargetGroup elasticloadbalancing:DescribeTargetGroups elasticloadbalancing:DescribeTargetGroupAttributes elasticloadbalancing:ModifyTargetGroup elasticloadbalancing:ModifyTargetGroupAttributes elasticloadbalancing:DeleteTargetGroup elasticloadbalancing:AddTags elasticloadbalancing:DescribeTags',
  'aws:msk/cluster:Cluster':
    'kafka:CreateCluster kafka:DescribeCluster kafka:DescribeClusterV2 kafka:DescribeClusterOperation kafka:GetBootstrapBrokers kafka:UpdateBrokerCount kafka:UpdateBrokerStorage kafka:UpdateBrokerType kafka:UpdateClusterConfiguration kafka:UpdateClusterKafkaVersion kafka:UpdateMonitoring kafka:UpdateSecurity kafka:DeleteCluster kafka:TagResource kafka:UntagResource kafka:ListTagsForResource ' +
    // MSK uses the caller's rights to make its grant of the key, and the delivery of the brokers' logs.
    'kms:CreateGrant kms:DescribeKey logs:CreateLogDelivery logs:GetLogDelivery logs:UpdateLogDelivery logs:DeleteLogDelivery logs:ListLogDeliveries logs:DescribeResourcePolicies logs:PutResourcePolicy',
  'aws:msk/configuration:Configuration':
    'kafka:CreateConfiguration kafka:DescribeConfiguration kafka:DescribeConfigurationRevision kafka:UpdateConfiguration kafka:DeleteConfiguration',
  'aws:msk/topic:Topic':
    'kafka:CreateTopic kafka:DescribeTopic kafka:UpdateTopic kafka:DeleteTopic kafka-cluster:Connect kafka-cluster:CreateTopic kafka-cluster:DescribeTopic kafka-cluster:AlterTopic kafka-cluster:DeleteTopic kafka-cluster:DescribeTopicDynamicConfiguration kafka-cluster:AlterTopicDynamicConfiguration',
  'aws:route53/record:Record':
    'route53:ChangeResourceRecordSets route53:GetChange route53:GetHostedZone route53:ListHostedZones route53:ListResourceRecordSets',
  'aws:s3/bucket:Bucket':
    's3:CreateBucket s3:ListBucket s3:ListBucketVersions s3:DeleteBucket s3:DeleteObject s3:DeleteObjectVersion s3:GetBucketTagging s3:PutBucketTagging s3:ListTagsForResource s3:TagResource s3:UntagResource s3:GetBucketLocation s3:GetBucketAcl s3:GetBucketCORS s3:GetBucketLogging s3:GetBucketObjectLockConfiguration s3:GetBucketRequestPayment s3:GetBucketWebsite s3:GetBucketPolicy s3:GetBucketVersioning s3:GetAccelerateConfiguration s3:GetEncryptionConfiguration s3:GetLifecycleConfiguration s3:GetReplicationConfiguration',
  'aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration':
    's3:PutLifecycleConfiguration s3:GetLifecycleConfiguration',
  'aws:s3/bucketMetric:BucketMetric': 's3:PutMetricsConfiguration s3:GetMetricsConfiguration',
  'aws:s3/bucketNotification:BucketNotification': 's3:PutBucketNotification s3:GetBucketNotification',
  'aws:s3/bucketObjectv2:BucketObjectv2':
    's3:PutObject s3:GetObject s3:GetObjectTagging s3:PutObjectTagging s3:DeleteObject s3:DeleteObjectVersion',
  'aws:s3/bucketPolicy:BucketPolicy': 's3:PutBucketPolicy s3:GetBucketPolicy s3:DeleteBucketPolicy',
  'aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock':
    's3:PutBucketPublicAccessBlock s3:GetBucketPublicAccessBlock',
  'aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration':
    's3:PutEncryptionConfiguration s3:GetEncryptionConfiguration',
  'aws:s3/bucketVersioning:BucketVersioning': 's3:PutBucketVersioning s3:GetBucketVersioning',
  'aws:sagemaker/endpoint:Endpoint':
    'sagemaker:CreateEndpoint sagemaker:DescribeEndpoint sagemaker:UpdateEndpoint sagemaker:DeleteEndpoint sagemaker:AddTags sagemaker:DeleteTags sagemaker:ListTags',
  'aws:sagemaker/endpointConfiguration:EndpointConfiguration':
    'sagemaker:CreateEndpointConfig sagemaker:DescribeEndpointConfig sagemaker:DeleteEndpointConfig sagemaker:AddTags sagemaker:ListTags',
  'aws:sagemaker/model:Model':
    'sagemaker:CreateModel sagemaker:DescribeModel sagemaker:DeleteModel sagemaker:AddTags sagemaker:ListTags',
  'aws:secretsmanager/secret:Secret':
    'secretsmanager:CreateSecret secretsmanager:DescribeSecret secretsmanager:GetResourcePolicy secretsmanager:UpdateSecret secretsmanager:DeleteSecret secretsmanager:TagResource secretsmanager:UntagResource',
  'aws:secretsmanager/secretVersion:SecretVersion':
    'secretsmanager:PutSecretValue secretsmanager:GetSecretValue secretsmanager:DescribeSecret secretsmanager:UpdateSecretVersionStage',
  'aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace':
    'servicediscovery:CreatePrivateDnsNamespace servicediscovery:GetNamespace servicediscovery:GetOperation servicediscovery:UpdatePrivateDnsNamespace servicediscovery:DeleteNamespace servicediscovery:TagResource servicediscovery:ListTagsForResource route53:CreateHostedZone route53:GetHostedZone route53:ListHostedZonesByName route53:DeleteHostedZone route53:AssociateVPCWithHostedZone ec2:DescribeVpcs ec2:DescribeRegions',
  'aws:servicediscovery/service:Service':
    'servicediscovery:CreateService servicediscovery:GetService servicediscovery:UpdateService servicediscovery:DeleteService servicediscovery:TagResource servicediscovery:ListTagsForResource ' +
    // With `forceDestroy`, as SST sets it: the provider removes what tasks left.
    'servicediscovery:ListInstances servicediscovery:DeregisterInstance route53:GetHealthCheck route53:UpdateHealthCheck route53:DeleteHealthCheck',
  'aws:sns/topic:Topic':
    'sns:CreateTopic sns:GetTopicAttributes sns:SetTopicAttributes sns:DeleteTopic sns:TagResource sns:UntagResource sns:ListTagsForResource',
  'aws:sns/topicPolicy:TopicPolicy': 'sns:SetTopicAttributes sns:GetTopicAttributes',
  'aws:sns/topicSubscription:TopicSubscription':
    'sns:Subscribe sns:GetSubscriptionAttributes sns:SetSubscriptionAttributes sns:Unsubscribe',
  'aws:ssm/parameter:Parameter':
    'ssm:PutParameter ssm:GetParameter ssm:GetParameters ssm:DescribeParameters ssm:DeleteParameter ssm:AddTagsToResource ssm:ListTagsForResource',
  'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule':
    'ec2:AuthorizeSecurityGroupEgress ec2:ModifySecurityGroupRules ec2:DescribeSecurityGroupRules ec2:RevokeSecurityGroupEgress ec2:CreateTags',
  'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule':
    'ec2:AuthorizeSecurityGroupIngress ec2:ModifySecurityGroupRules ec2:DescribeSecurityGroupRules ec2:RevokeSecurityGroupIngress ec2:CreateTags',
};

/** Further calls of the program, of SST and of `npm run deploy`. */
export const BESIDE =
  'sts:GetCallerIdentity servicequotas:ListServiceQuotas ec2:DescribeAvailabilityZones ec2:DescribeImages ' +
  'ecr:GetAuthorizationToken ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer ' +
  'ecr:InitiateLayerUpload ecr:UploadLayerPart ecr:CompleteLayerUpload ecr:PutImage ecr:DescribeImages ' +
  'secretsmanager:GetRandomPassword eks:DescribeClusterVersions lambda:ListEventSourceMappings ' +
  'ecs:ListTasks ecs:DescribeTasks cloudwatch:GetMetricStatistics ' +
  'lambda:GetAccountSettings lambda:ListFunctions lambda:GetFunctionConcurrency ' +
  'ec2:DescribeInstanceTypeOfferings kafka:ListKafkaVersions eks:DescribeAddonVersions';

/** Actions whose names differ from the calls that they allow. */
const RENAMED: Record<string, string> = {
  's3:PutBucketLifecycleConfiguration': 's3:PutLifecycleConfiguration',
  's3:PutBucketEncryption': 's3:PutEncryptionConfiguration',
  's3:PutPublicAccessBlock': 's3:PutBucketPublicAccessBlock',
  's3:PutBucketMetricsConfiguration': 's3:PutMetricsConfiguration',
  's3:PutBucketNotificationConfiguration': 's3:PutBucketNotification',
};

/** The action that allows a call. */
export function actionOf(api: string, operation: string): string {
  const action = `${api === 'elbv2' ? 'elasticloadbalancing' : api}:${operation}`;
  return RENAMED[action] ?? action;
}

/** The policies in docs/iam with their services: a single policy would exceed the limit of IAM. */
export const POLICIES: Record<string, readonly string[]> = {
  'deploy-network': ['acm', 'ec2', 'elasticloadbalancing', 'route53', 'servicediscovery'],
  'deploy-compute': [
    ...['application-autoscaling', 'autoscaling', 'cognito-idp', 'ecs', 'eks', 'lambda', 'sagemaker'],
    ...['servicequotas', 'sts'],
  ],
  'deploy-data': [
    ...['cloudwatch', 'ecr', 'events', 'glue', 'kafka', 'kafka-cluster', 'logs', 's3', 'secretsmanager'],
    ...['sns', 'ssm'],
  ],
  'deploy-roles': ['iam', 'kms'],
};

/** Clusters and their parts: each ARN has the cluster's name after its kind. parliament rejects `*` as the kind. */
const inClusters = (service: string, ...kinds: string[]) =>
  kinds.map((kind) => `arn:aws:${service}:*:*:${kind}/video-pipeline-*`);

/** Resources with name prefixes of this app, so that a deploy can not change others: roles, functions, secrets and more. */
const OURS: Record<string, string[]> = {
  ecr: ['arn:aws:ecr:*:*:repository/video-pipeline/*', 'arn:aws:ecr:*:*:repository/sst-asset'],
  ecs: inClusters(
    'ecs',
    ...['capacity-provider', 'cluster', 'service', 'service-deployment', 'task', 'task-definition'],
  ),
  eks: inClusters('eks', 'access-entry', 'addon', 'cluster', 'podidentityassociation'),
  kafka: inClusters('kafka', 'cluster', 'configuration', 'topic'),
  'kafka-cluster': inClusters('kafka', 'cluster', 'topic'),
  sns: ['arn:aws:sns:*:*:video-pipeline-*'],
  iam: [
    'arn:aws:iam::*:role/video-pipeline-*',
    'arn:aws:iam::*:instance-profile/video-pipeline-*',
    'arn:aws:iam::*:instance-profile/NetworkNat*',
    'arn:aws:iam::*:instance-profile/NetworkBastion*',
  ],
  // A caller that may change the code of another function gets its role.
  lambda: ['arn:aws:lambda:*:*:function:video-pipeline-*', 'arn:aws:lambda:*:*:event-source-mapping:*'],
  s3: [
    ...['video-pipeline-*', 'sst-asset-*', 'sst-state-*'].flatMap((name) => [
      `arn:aws:s3:::${name}`,
      `arn:aws:s3:::${name}/*`,
    ]),
  ],
  secretsmanager: ['arn:aws:secretsmanager:*:*:secret:video-pipeline/*'],
  // Launch templates name AWS's newest image for ECS by its parameter.
  ssm: ['arn:aws:ssm:*:*:parameter/sst/*', 'arn:aws:ssm:*::parameter/aws/service/ecs/*'],
};
/**
 * Actions of those services that have no resource, or none yet: AWS's reference names the resource of some that make one,
 * and did not always.
 * @see https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
 */
const OF_NO_RESOURCE = [
  'ecr:GetAuthorizationToken',
  ...['CreateCapacityProvider', 'CreateCluster', 'DeregisterTaskDefinition', 'DescribeTaskDefinition'].map(
    (call) => `ecs:${call}`,
  ),
  ...['ecs:ListTasks', 'ecs:RegisterTaskDefinition'],
  ...['eks:CreateCluster', 'eks:DescribeAddonVersions', 'eks:DescribeClusterVersions'],
  ...['CreateCluster', 'CreateConfiguration', 'DescribeClusterOperation', 'GetBootstrapBrokers'].map(
    (call) => `kafka:${call}`,
  ),
  'kafka:ListKafkaVersions',
  'lambda:CreateEventSourceMapping',
  'lambda:GetAccountSettings',
  'lambda:ListEventSourceMappings',
  'lambda:ListFunctions',
  'secretsmanager:GetRandomPassword',
  ...['sns:GetSubscriptionAttributes', 'sns:SetSubscriptionAttributes', 'sns:Unsubscribe'],
  'ssm:DescribeParameters',
];

/** AWS's services that make a role for themselves at first use in an account. */
const SERVICE_LINKED = [
  'autoscaling',
  'ecs',
  'ecs.application-autoscaling',
  'eks',
  'elasticloadbalancing',
  'kafka',
  'kafka.application-autoscaling',
  'sagemaker.application-autoscaling',
].map((service) => `${service}.amazonaws.com`);

/**
 * Auto Mode's profile of the nodes' role. A deleted cluster may leave it, and AWS's provider then takes the role out.
 * @see https://github.com/aws/containers-roadmap/issues/2531
 */
const LEFT_BY_EKS = 'arn:aws:iam::*:instance-profile/eks-*';

/** Only MSK uses the keys. */
const THROUGH_KAFKA = { StringLike: { 'kms:ViaService': 'kafka.*.amazonaws.com' } };

/** A policy as JSON. @param passedTo the services that roles of the graphs are for */
export function policyOf(services: readonly string[], passedTo: readonly string[]) {
  const all = [...Object.values(RIGHTS), BESIDE].flatMap((list) => list.split(' '));
  const actions = [...new Set(all)].sort().filter((action) => services.includes(serviceOf(action)));
  const resourceOf = (action: string) =>
    (OF_NO_RESOURCE.includes(action) ? undefined : OURS[serviceOf(action)]) ?? ['*'];
  const conditionOf = (action: string) => (serviceOf(action) === 'kms' ? THROUGH_KAFKA : undefined);
  const alike = Map.groupBy(actions, (action) => JSON.stringify([resourceOf(action), conditionOf(action)]));
  const statements: object[] = [...alike.values()].map((Action) => {
    const [first = ''] = Action;
    const Condition = conditionOf(first);
    return { Effect: 'Allow', Action, Resource: resourceOf(first), ...(Condition && { Condition }) };
  });
  if (services.includes('iam')) {
    const pass = { Effect: 'Allow', Action: ['iam:PassRole'], Resource: [OURS.iam?.[0]] };
    const remove = {
      Effect: 'Allow',
      Action: ['iam:RemoveRoleFromInstanceProfile'],
      Resource: [LEFT_BY_EKS],
    };
    const link = {
      Effect: 'Allow',
      Action: ['iam:CreateServiceLinkedRole'],
      Resource: ['arn:aws:iam::*:role/aws-service-role/*'],
    };
    statements.push(
      remove,
      { ...pass, Condition: { StringEquals: { 'iam:PassedToService': passedTo } } },
      { ...link, Condition: { StringEquals: { 'iam:AWSServiceName': SERVICE_LINKED } } },
    );
  }
  return { Version: '2012-10-17', Statement: statements };
}

export const serviceOf = (action: string) => action.split(':')[0] ?? '';
