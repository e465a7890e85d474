import { createHash } from 'node:crypto';
import type { Api } from './models.ts';
import type { Graph, Resource } from './offline/evaluate.ts';

/** One call of AWS: its parameters by names in upper or lower case. */
export type Call = [api: Api, operation: string, parameters: Record<string, unknown>];

/**
 * The calls by which AWS's provider creates a resource. An input that no call uses is omitted explicitly,
 * by its name. All others are passed on, so that an unknown one is found.
 */
type Making = (inputs: any, name: string, id: string) => Call[];

const enabled = (value: boolean) => (value ? 'ENABLED' : 'DISABLED');
const tags = (id: string, given?: object): Call[] =>
  given ? [['ec2', 'CreateTags', { resources: [id], tags: given }]] : [];
/** Pulumi's own names, where the program gives none. */
const named = (name: string) => `${name}-0123456`;

const openings = (rules: any[], api: string, groupId: string): Call[] =>
  rules.map(({ protocol, cidrBlocks, ...rule }) => [
    'ec2',
    api,
    {
      groupId,
      ipPermissions: [
        { ...rule, ipProtocol: protocol, ipRanges: cidrBlocks?.map((cidrIp: string) => ({ cidrIp })) },
      ],
    },
  ]);

const rule =
  (operation: string): Making =>
  ({ securityGroupId, cidrIpv4, prefixListId, referencedSecurityGroupId, ...permission }) => [
    [
      'ec2',
      operation,
      {
        groupId: securityGroupId,
        ipPermissions: [
          {
            ...permission,
            ipRanges: cidrIpv4 && [{ cidrIp: cidrIpv4 }],
            prefixListIds: prefixListId && [{ prefixListId }],
            userIdGroupPairs: referencedSecurityGroupId && [{ groupId: referencedSecurityGroupId }],
          },
        ],
      },
    ],
  ];

/** A policy's document, which some components give as an object. */
const textOf = (document: unknown) => (typeof document === 'string' ? document : JSON.stringify(document));

const actions = (list: any[]) =>
  list.map(({ authenticateCognito, ...action }) => ({
    ...action,
    authenticateCognitoConfig: authenticateCognito,
  }));

const metricQuery = ({ metric, ...query }: any) => {
  if (!metric) return query;
  const { period, stat, ...named } = metric;
  return { ...query, returnData: false, metricStat: { period, stat, metric: named } };
};

/** The calls for a resource of each type; `undefined` if it creates nothing on AWS. */
export const MAKING: Record<string, Making | undefined> = {
  'aws:acm/certificate:Certificate': (inputs) => [['acm', 'RequestCertificate', inputs]],
  // Waits for the certificate.
  'aws:acm/certificateValidation:CertificateValidation': undefined,
  'aws:appautoscaling/policy:Policy': ({ name, ...inputs }, own) => [
    ['application-autoscaling', 'PutScalingPolicy', { ...inputs, policyName: name ?? named(own) }],
  ],
  'aws:appautoscaling/target:Target': (inputs) => [
    ['application-autoscaling', 'RegisterScalableTarget', inputs],
  ],
  'aws:autoscaling/group:Group': (
    { forceDelete: _, launchTemplate, protectFromScaleIn, vpcZoneIdentifiers, ...inputs },
    own,
  ) => [
    [
      'autoscaling',
      'CreateAutoScalingGroup',
      {
        ...inputs,
        autoScalingGroupName: named(own),
        launchTemplate: { launchTemplateId: launchTemplate.id, version: launchTemplate.version },
        newInstancesProtectedFromScaleIn: protectFromScaleIn,
        vpcZoneIdentifier: vpcZoneIdentifiers.join(','),
      },
    ],
  ],
  'aws:cloudwatch/dashboard:Dashboard': (inputs) => [['cloudwatch', 'PutDashboard', inputs]],
  'aws:cloudwatch/eventBus:EventBus': (inputs) => [['events', 'CreateEventBus', inputs]],
  'aws:cloudwatch/eventRule:EventRule': (inputs, name) => [
    // The name by which its targets refer to it here.
    ['events', 'PutRule', { name, ...inputs }],
  ],
  'aws:cloudwatch/eventTarget:EventTarget': ({ rule, targetId, ...target }) => [
    ['events', 'PutTargets', { rule, targets: [{ id: targetId, ...target }] }],
  ],
  'aws:cloudwatch/logDelivery:LogDelivery': (inputs) => [['logs', 'CreateDelivery', inputs]],
  'aws:cloudwatch/logDeliveryDestination:LogDeliveryDestination': (inputs) => [
    ['logs', 'PutDeliveryDestination', inputs],
  ],
  'aws:cloudwatch/logDeliverySource:LogDeliverySource': (inputs) => [['logs', 'PutDeliverySource', inputs]],
  'aws:cloudwatch/logMetricFilter:LogMetricFilter': ({
    name,
    logGroupName,
    pattern,
    metricTransformation,
  }) => {
    const { name: metricName, namespace: metricNamespace, value: metricValue, unit } = metricTransformation;
    const metricTransformations = [{ metricName, metricNamespace, metricValue, unit }];
    const filter = { logGroupName, filterName: name, filterPattern: pattern, metricTransformations };
    return [['logs', 'PutMetricFilter', filter]];
  },
  'aws:cloudwatch/logGroup:LogGroup': ({ name, retentionInDays }) => [
    ['logs', 'CreateLogGroup', { logGroupName: name }],
    ['logs', 'PutRetentionPolicy', { logGroupName: name, retentionInDays }],
  ],
  'aws:cloudwatch/metricAlarm:MetricAlarm': ({ metricQueries, ...inputs }, own) => [
    [
      'cloudwatch',
      'PutMetricAlarm',
      { ...inputs, alarmName: named(own), metrics: metricQueries?.map(metricQuery) },
    ],
  ],
  'aws:cloudwatch/queryDefinition:QueryDefinition': (inputs) => [['logs', 'PutQueryDefinition', inputs]],
  'aws:cognito/userPool:UserPool': (
    { name, passwordPolicy, mfaConfiguration, softwareTokenMfaConfiguration, ...inputs },
    _own,
    id,
  ) => [
    ['cognito-idp', 'CreateUserPool', { ...inputs, poolName: name, policies: { passwordPolicy } }],
    [
      'cognito-idp',
      'SetUserPoolMfaConfig',
      { userPoolId: id, mfaConfiguration, softwareTokenMfaConfiguration },
    ],
  ],
  'aws:cognito/userPoolClient:UserPoolClient': ({ name, userPoolId, ...inputs }) => [
    ['cognito-idp', 'CreateUserPoolClient', { ...inputs, clientName: name, userPoolId }],
  ],
  'aws:cognito/userPoolDomain:UserPoolDomain': ({ userPoolId, ...inputs }) => [
    ['cognito-idp', 'CreateUserPoolDomain', { ...inputs, userPoolId }],
  ],
  // Removes the rules of the VPC's default group.
  'aws:ec2/defaultSecurityGroup:DefaultSecurityGroup': undefined,
  'aws:ec2/eip:Eip': ({ tags: given, ...inputs }, _own, id) => [
    ['ec2', 'AllocateAddress', inputs],
    ...tags(id, given),
  ],
  'aws:ec2/eipAssociation:EipAssociation': (inputs) => [['ec2', 'AssociateAddress', inputs]],
  'aws:ec2/instance:Instance': (
    {
      ami,
      iamInstanceProfile,
      rootBlockDevice: ebs,
      sourceDestCheck,
      tags: given,
      vpcSecurityGroupIds,
      ...inputs
    },
    _own,
    id,
  ) => [
    [
      'ec2',
      'RunInstances',
      {
        ...inputs,
        imageId: ami,
        blockDeviceMappings: [{ deviceName: '/dev/xvda', ebs }],
        iamInstanceProfile: { name: iamInstanceProfile },
        securityGroupIds: vpcSecurityGroupIds,
        minCount: 1,
        maxCount: 1,
      },
    ],
    ['ec2', 'ModifyInstanceAttribute', { instanceId: id, sourceDestCheck: { value: sourceDestCheck } }],
    ...tags(id, given),
  ],
  'aws:ec2/internetGateway:InternetGateway': ({ vpcId, tags: given, ...inputs }, _own, id) => [
    ['ec2', 'CreateInternetGateway', inputs],
    ['ec2', 'AttachInternetGateway', { vpcId, internetGatewayId: id }],
    ...tags(id, given),
  ],
  'aws:ec2/keyPair:KeyPair': ({ publicKey: _, ...inputs }) => [
    ['ec2', 'ImportKeyPair', { ...inputs, publicKeyMaterial: 'a key' }],
  ],
  'aws:ec2/launchTemplate:LaunchTemplate': ({ vpcSecurityGroupIds, ...inputs }, own) => [
    [
      'ec2',
      'CreateLaunchTemplate',
      {
        launchTemplateName: named(own),
        launchTemplateData: { ...inputs, securityGroupIds: vpcSecurityGroupIds },
      },
    ],
  ],
  'aws:ec2/natGateway:NatGateway': ({ tags: given, ...inputs }, _own, id) => [
    ['ec2', 'CreateNatGateway', inputs],
    ...tags(id, given),
  ],
  'aws:ec2/routeTable:RouteTable': ({ routes = [], tags: given, ...inputs }, _own, id) => [
    ['ec2', 'CreateRouteTable', inputs],
    ...routes.map(
      ({ cidrBlock, ...route }: any): Call => [
        'ec2',
        'CreateRoute',
        { ...route, routeTableId: id, destinationCidrBlock: cidrBlock },
      ],
    ),
    ...tags(id, given),
  ],
  'aws:ec2/routeTableAssociation:RouteTableAssociation': (inputs) => [['ec2', 'AssociateRouteTable', inputs]],
  'aws:ec2/securityGroup:SecurityGroup': ({ ingress = [], egress = [], tags: given, ...inputs }, own, id) => [
    [
      'ec2',
      'CreateSecurityGroup',
      { ...inputs, groupName: named(own), description: inputs.description ?? own },
    ],
    ...openings(ingress, 'AuthorizeSecurityGroupIngress', id),
    ...openings(egress, 'AuthorizeSecurityGroupEgress', id),
    ...tags(id, given),
  ],
  'aws:ec2/subnet:Subnet': ({ mapPublicIpOnLaunch, tags: given, ...inputs }, _own, id) => [
    ['ec2', 'CreateSubnet', inputs],
    ...(mapPublicIpOnLaunch === undefined
      ? []
      : [
          [
            'ec2',
            'ModifySubnetAttribute',
            { subnetId: id, mapPublicIpOnLaunch: { value: mapPublicIpOnLaunch } },
          ] as Call,
        ]),
    ...tags(id, given),
  ],
  'aws:ec2/vpc:Vpc': ({ enableDnsHostnames, enableDnsSupport, tags: given, ...inputs }, _own, id) => [
    ['ec2', 'CreateVpc', inputs],
    ['ec2', 'ModifyVpcAttribute', { vpcId: id, enableDnsHostnames: { value: enableDnsHostnames } }],
    ['ec2', 'ModifyVpcAttribute', { vpcId: id, enableDnsSupport: { value: enableDnsSupport } }],
    ...tags(id, given),
  ],
  'aws:ec2/vpcEndpoint:VpcEndpoint': (inputs) => [['ec2', 'CreateVpcEndpoint', inputs]],
  'aws:ecr/lifecyclePolicy:LifecyclePolicy': ({ repository, policy }) => [
    ['ecr', 'PutLifecyclePolicy', { repositoryName: repository, lifecyclePolicyText: policy }],
  ],
  'aws:ecr/repository:Repository': ({ forceDelete: _, name, ...inputs }) => [
    ['ecr', 'CreateRepository', { ...inputs, repositoryName: name }],
  ],
  'aws:ecs/capacityProvider:CapacityProvider': (inputs) => [['ecs', 'CreateCapacityProvider', inputs]],
  'aws:ecs/cluster:Cluster': ({ name, ...inputs }) => [
    ['ecs', 'CreateCluster', { ...inputs, clusterName: name }],
  ],
  'aws:ecs/clusterCapacityProviders:ClusterCapacityProviders': ({ clusterName, ...inputs }) => [
    [
      'ecs',
      'PutClusterCapacityProviders',
      // The provider sends it, and empty.
      { ...inputs, cluster: clusterName, defaultCapacityProviderStrategy: [{ capacityProvider: 'FARGATE' }] },
    ],
  ],
  'aws:ecs/service:Service': ({
    // Of an update, and of what the provider waits for.
    forceNewDeployment: _force,
    waitForSteadyState: _wait,
    name,
    networkConfiguration,
    deploymentCircuitBreaker,
    deploymentMaximumPercent: maximumPercent,
    deploymentMinimumHealthyPercent: minimumHealthyPercent,
    capacityProviderStrategies,
    orderedPlacementStrategies,
    ...inputs
  }) => [
    [
      'ecs',
      'CreateService',
      {
        ...inputs,
        serviceName: name,
        networkConfiguration: {
          awsvpcConfiguration: {
            ...networkConfiguration,
            assignPublicIp: enabled(networkConfiguration.assignPublicIp),
          },
        },
        deploymentConfiguration: { deploymentCircuitBreaker, maximumPercent, minimumHealthyPercent },
        capacityProviderStrategy: capacityProviderStrategies,
        placementStrategy: orderedPlacementStrategies,
      },
    ],
  ],
  'aws:ecs/taskDefinition:TaskDefinition': ({ trackLatest: _, containerDefinitions, ...inputs }) => [
    ['ecs', 'RegisterTaskDefinition', { ...inputs, containerDefinitions: JSON.parse(containerDefinitions) }],
  ],
  'aws:eks/accessEntry:AccessEntry': (inputs) => [['eks', 'CreateAccessEntry', inputs]],
  'aws:eks/accessPolicyAssociation:AccessPolicyAssociation': (inputs) => [
    ['eks', 'AssociateAccessPolicy', inputs],
  ],
  'aws:eks/addon:Addon': (inputs) => [['eks', 'CreateAddon', inputs]],
  'aws:eks/cluster:Cluster': ({ vpcConfig, enabledClusterLogTypes: types, ...inputs }) => [
    [
      'eks',
      'CreateCluster',
      { ...inputs, resourcesVpcConfig: vpcConfig, logging: { clusterLogging: [{ types, enabled: true }] } },
    ],
  ],
  'aws:eks/podIdentityAssociation:PodIdentityAssociation': (inputs) => [
    ['eks', 'CreatePodIdentityAssociation', inputs],
  ],
  'aws:glue/catalogDatabase:CatalogDatabase': (inputs) => [
    ['glue', 'CreateDatabase', { databaseInput: inputs }],
  ],
  'aws:glue/catalogTable:CatalogTable': ({ databaseName, storageDescriptor, ...inputs }) => {
    const { serDeInfo, ...storage } = storageDescriptor;
    const tableInput = { ...inputs, storageDescriptor: { ...storage, serdeInfo: serDeInfo } };
    return [['glue', 'CreateTable', { databaseName, tableInput }]];
  },
  'aws:iam/instanceProfile:InstanceProfile': ({ role, namePrefix, ...inputs }, own) => [
    ['iam', 'CreateInstanceProfile', { ...inputs, instanceProfileName: named(namePrefix ?? own) }],
    ['iam', 'AddRoleToInstanceProfile', { instanceProfileName: named(namePrefix ?? own), roleName: role }],
  ],
  'aws:iam/role:Role': (
    { name, namePrefix, assumeRolePolicy, inlinePolicies = [], managedPolicyArns = [], ...inputs },
    own,
  ) => {
    const roleName = name ?? `${namePrefix}${named(own)}`;
    return [
      ['iam', 'CreateRole', { ...inputs, roleName, assumeRolePolicyDocument: textOf(assumeRolePolicy) }],
      ...inlinePolicies.map(
        (inline: any): Call => [
          'iam',
          'PutRolePolicy',
          { roleName, policyName: inline.name, policyDocument: inline.policy },
        ],
      ),
      ...managedPolicyArns.map(
        (policyArn: string): Call => ['iam', 'AttachRolePolicy', { roleName, policyArn }],
      ),
    ];
  },
  'aws:lambda/eventSourceMapping:EventSourceMapping': ({ destinationConfig, ...inputs }) => {
    const destination = destinationConfig?.onFailure.destinationArn;
    return [
      [
        'lambda',
        'CreateEventSourceMapping',
        { ...inputs, destinationConfig: destination && { onFailure: { destination } } },
      ],
    ];
  },
  'aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig': (inputs) => [
    ['lambda', 'PutFunctionEventInvokeConfig', inputs],
  ],
  'aws:lambda/permission:Permission': ({ function: functionName, ...inputs }, name) => [
    ['lambda', 'AddPermission', { statementId: named(name), functionName, ...inputs }],
  ],
  'aws:lambda/function:Function': ({
    name,
    s3Bucket,
    s3Key,
    code: _,
    reservedConcurrentExecutions,
    ...inputs
  }) => [
    ['lambda', 'CreateFunction', { ...inputs, functionName: name, code: { s3Bucket, s3Key } }],
    ...(reservedConcurrentExecutions === undefined
      ? []
      : [
          [
            'lambda',
            'PutFunctionConcurrency',
            { functionName: name, reservedConcurrentExecutions },
          ] satisfies Call,
        ]),
  ],
  'aws:lb/listener:Listener': ({ certificateArn, defaultActions, ...inputs }) => [
    [
      'elbv2',
      'CreateListener',
      { ...inputs, certificates: [{ certificateArn }], defaultActions: actions(defaultActions) },
    ],
  ],
  'aws:lb/listenerRule:ListenerRule': ({ conditions, actions: given, ...inputs }) => [
    [
      'elbv2',
      'CreateRule',
      {
        // The provider uses the next free one.
        priority: 1,
        ...inputs,
        actions: actions(given),
        conditions: conditions.map(({ pathPattern }: any) => ({
          field: 'path-pattern',
          pathPatternConfig: pathPattern,
        })),
      },
    ],
  ],
  'aws:lb/loadBalancer:LoadBalancer': ({
    internal,
    loadBalancerType: type,
    dropInvalidHeaderFields,
    enableCrossZoneLoadBalancing,
    enableDeletionProtection,
    idleTimeout,
    ...inputs
  }) => [
    ['elbv2', 'CreateLoadBalancer', { ...inputs, type, scheme: internal ? 'internal' : 'internet-facing' }],
    [
      'elbv2',
      'ModifyLoadBalancerAttributes',
      {
        loadBalancerArn: 'arn',
        attributes: {
          'routing.http.drop_invalid_header_fields.enabled': dropInvalidHeaderFields,
          'load_balancing.cross_zone.enabled': enableCrossZoneLoadBalancing,
          'deletion_protection.enabled': enableDeletionProtection,
          'idle_timeout.timeout_seconds': idleTimeout,
        },
      },
    ],
  ],
  'aws:lb/targetGroup:TargetGroup': ({ namePrefix, healthCheck, deregistrationDelay, ...inputs }) => [
    [
      'elbv2',
      'CreateTargetGroup',
      {
        ...inputs,
        // Terraform adds 26 characters to six at most.
        name: `${namePrefix}${'0'.repeat(26)}`,
        healthCheckPath: healthCheck.path,
        healthCheckIntervalSeconds: healthCheck.interval,
        healthCheckTimeoutSeconds: healthCheck.timeout,
        healthyThresholdCount: healthCheck.healthyThreshold,
        unhealthyThresholdCount: healthCheck.unhealthyThreshold,
        matcher: { httpCode: healthCheck.matcher },
      },
    ],
    [
      'elbv2',
      'ModifyTargetGroupAttributes',
      {
        targetGroupArn: 'arn',
        attributes: { 'deregistration_delay.timeout_seconds': deregistrationDelay },
      },
    ],
  ],
  'aws:msk/cluster:Cluster': ({ configurationInfo, ...inputs }) => {
    const { unauthenticated, sasl } = inputs.clientAuthentication;
    return [
      [
        'kafka',
        'CreateCluster',
        {
          ...inputs,
          clientAuthentication: {
            sasl: { iam: { enabled: sasl.iam } },
            unauthenticated: { enabled: unauthenticated },
          },
          configurationInfo: { revision: 1, ...configurationInfo },
        },
      ],
    ];
  },
  'aws:msk/configuration:Configuration': (inputs) => [['kafka', 'CreateConfiguration', inputs]],
  // The provider accepts JSON, and AWS base64.
  'aws:msk/topic:Topic': ({ name, configs, ...inputs }) => [
    [
      'kafka',
      'CreateTopic',
      { ...inputs, topicName: name, configs: Buffer.from(configs).toString('base64') },
    ],
  ],
  'aws:route53/record:Record': ({ zoneId, aliases, records = [], ...inputs }) => {
    const [alias] = aliases ?? [];
    const aliasTarget = alias && {
      hostedZoneId: alias.zoneId,
      dnsName: alias.name,
      evaluateTargetHealth: alias.evaluateTargetHealth,
    };
    const resourceRecords = records.map((value: string) => ({ value }));
    const resourceRecordSet = { ...inputs, aliasTarget, resourceRecords };
    const changes = [{ action: 'UPSERT', resourceRecordSet }];
    return [['route53', 'ChangeResourceRecordSets', { hostedZoneId: zoneId, changeBatch: { changes } }]];
  },
  'aws:s3/bucket:Bucket': ({ forceDestroy: _, ...inputs }) => [['s3', 'CreateBucket', inputs]],
  'aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration': ({ bucket, rules }) => [
    [
      's3',
      'PutBucketLifecycleConfiguration',
      {
        bucket,
        lifecycleConfiguration: {
          rules: rules.map(({ noncurrentVersionExpiration, filter = { prefix: '' }, ...one }: any) => ({
            ...one,
            filter,
            noncurrentVersionExpiration,
          })),
        },
      },
    ],
  ],
  'aws:s3/bucketMetric:BucketMetric': ({ bucket, name: id, filter }) => [
    ['s3', 'PutBucketMetricsConfiguration', { bucket, id, metricsConfiguration: { id, filter } }],
  ],
  'aws:s3/bucketNotification:BucketNotification': ({ bucket, topics }) => [
    [
      's3',
      'PutBucketNotificationConfiguration',
      {
        bucket,
        notificationConfiguration: {
          topicConfigurations: topics.map(({ filterPrefix, ...one }: any) => ({
            ...one,
            filter: { key: { filterRules: [{ name: 'prefix', value: filterPrefix }] } },
          })),
        },
      },
    ],
  ],
  'aws:s3/bucketObjectv2:BucketObjectv2': ({ source: _, content, ...inputs }) => [
    ['s3', 'PutObject', { ...inputs, body: content }],
  ],
  'aws:s3/bucketPolicy:BucketPolicy': (inputs) => [['s3', 'PutBucketPolicy', inputs]],
  'aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock': ({ bucket, ...inputs }) => [
    ['s3', 'PutPublicAccessBlock', { bucket, publicAccessBlockConfiguration: inputs }],
  ],
  'aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration': ({
    bucket,
    ...inputs
  }) => [['s3', 'PutBucketEncryption', { bucket, serverSideEncryptionConfiguration: inputs }]],
  'aws:s3/bucketVersioning:BucketVersioning': (inputs) => [['s3', 'PutBucketVersioning', inputs]],
  'aws:sagemaker/endpoint:Endpoint': ({ name: endpointName, ...inputs }) => [
    ['sagemaker', 'CreateEndpoint', { ...inputs, endpointName }],
  ],
  'aws:sagemaker/endpointConfiguration:EndpointConfiguration': (inputs, own) => [
    ['sagemaker', 'CreateEndpointConfig', { ...inputs, endpointConfigName: named(own) }],
  ],
  'aws:sagemaker/model:Model': (inputs, own) => [
    ['sagemaker', 'CreateModel', { ...inputs, modelName: named(own) }],
  ],
  'aws:secretsmanager/secret:Secret': ({ recoveryWindowInDays: _, ...inputs }) => [
    ['secretsmanager', 'CreateSecret', inputs],
  ],
  'aws:secretsmanager/secretVersion:SecretVersion': (inputs) => [
    ['secretsmanager', 'PutSecretValue', inputs],
  ],
  'aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace': (inputs) => [
    ['servicediscovery', 'CreatePrivateDnsNamespace', inputs],
  ],
  'aws:servicediscovery/service:Service': ({ forceDestroy: _, namespaceId: _id, ...inputs }) => [
    ['servicediscovery', 'CreateService', inputs],
  ],
  'aws:sns/topic:Topic': ({ fifoTopic: _, ...inputs }) => [['sns', 'CreateTopic', inputs]],
  'aws:sns/topicSubscription:TopicSubscription': ({ topic, ...inputs }) => [
    ['sns', 'Subscribe', { ...inputs, topicArn: topic }],
  ],
  'aws:sns/topicPolicy:TopicPolicy': ({ arn, policy }) => [
    ['sns', 'SetTopicAttributes', { topicArn: arn, attributeName: 'Policy', attributeValue: policy }],
  ],
  'aws:ssm/parameter:Parameter': ({ value, ...inputs }) => [
    ['ssm', 'PutParameter', { ...inputs, value: value || 'made by another resource' }],
  ],
  'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule': rule('AuthorizeSecurityGroupEgress'),
  'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule': rule('AuthorizeSecurityGroupIngress'),
};

/** How the ids begin that AWS gives; in an evaluation they are the resources' names. */
const IDS: Record<string, string> = {
  'aws:ec2/vpc:Vpc': 'vpc-',
  'aws:ec2/subnet:Subnet': 'subnet-',
  'aws:ec2/securityGroup:SecurityGroup': 'sg-',
  'aws:cognito/userPool:UserPool': 'us-east-1_',
};

/** The resources, with ids of the form that AWS gives them. */
export function withRealIds({ resources }: Graph): (Resource & { id: string })[] {
  const ids = new Map(
    resources.flatMap(({ type, name, inputs }) => {
      // A secret is referred to by its name as well.
      if (type === 'aws:secretsmanager/secret:Secret') return [[name, inputs.name]];
      const id = `${IDS[type]}${createHash('md5').update(name).digest('hex').slice(0, 17)}`;
      return IDS[type] ? [[name, id]] : [];
    }),
  );
  const made = resources.map((resource) => ({ ...resource, id: resource.name }));
  return JSON.parse(JSON.stringify(made), (key, value) =>
    /(ids?|groups|subnets)$|^\d+$/i.test(key) ? (ids.get(value) ?? value) : value,
  );
}

/** @throws Error for a resource of AWS whose calls are not known */
export function callsOf({ type, name, inputs, id }: Resource & { id: string }): Call[] {
  if (!type.startsWith('aws:')) return [];
  if (!Object.hasOwn(MAKING, type)) throw new Error(`test/infra/calls.ts does not say how ${type} is made`);
  return MAKING[type]?.(inputs, name, id) ?? [];
}
