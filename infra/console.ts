import {
  createCluster,
  createSecret,
  executionRole,
  giveTmp,
  harden,
  refuseRollback,
  taskRole,
} from './ecs.ts';
import { type Functions, kafkaEnvironment } from './functions.ts';
import { createImage } from './images.ts';
import { type KafkaCluster, kafkaArn, kafkaPermissions, kafkaStatement } from './kafka.ts';
import { logGroupName } from './logs.ts';
import {
  ANYWHERE,
  acceptFrom,
  connect,
  connectOut,
  createGroup,
  type createNetwork,
  type Group,
  HTTPS,
  reachAws,
  reachS3,
} from './network.ts';
import { environmentOf, KAFKA_IAM_PORT } from './settings.ts';
import type { Console, Stage } from './stages.ts';
import { LOST_BATCHES, type StreamList } from './storage.ts';

interface Parts {
  stage: Stage;
  network: ReturnType<typeof createNetwork>;
  kafka: KafkaCluster;
  store: sst.aws.Bucket;
  functions: Functions;
  list: StreamList;
}

/** TLS 1.2 with forward secrecy, or 1.3. */
const TLS_POLICY = 'ELBSecurityPolicy-TLS13-1-2-2021-06';
/** After so long a browser signs in again, seconds. */
const SESSION = 12 * 3600;
/**
 * What the page asks by itself. Once the session has ended it is refused, at which the page loads itself again and so leads
 * to the sign-in; sent to Cognito instead, it would fail at another site's door without a word.
 */
const API = '/api/*';
/** A connection on which nothing happens for so long is closed, seconds. The console sends its health every 2 s. */
const IDLE = 60;
/** How long a browser's stream of events may keep an old task from ending, seconds: it opens another by itself. */
const DRAIN = 15;

/** The console is open to everyone. */
export class OpenConsoleError extends Error {
  override readonly name = 'OpenConsoleError';
}

/**
 * The console on ECS, in private subnets, behind a load balancer that speaks TLS and signs in by Cognito.
 * @throws OpenConsoleError when the stage lets in every address
 */
export function createConsole(parts: Parts) {
  const { stage, network, kafka } = parts;
  if (!stage.console || $dev) return undefined;
  const group = createGroup(network.vpc, 'Console');
  connect(group, kafka.group, KAFKA_IAM_PORT);
  reachAws(network, group);
  reachS3(network, group);
  const door = createDoor(stage, network, stage.console, group);
  const logs = logGroupName('console');
  const service = createService({ ...parts, page: stage.console, group, door, logs });
  const { loadBalancer } = service.nodes;
  return {
    url: $interpolate`https://${stage.console.domain}/`,
    logs,
    metrics: {
      loadBalancer: loadBalancer.arnSuffix,
      // arn:aws:elasticloadbalancing:<region>:<account>:targetgroup/<name>/<id>
      targetGroup: service.nodes.service.loadBalancers.apply(
        (targets) => targets?.[0]?.targetGroupArn?.split(':').at(-1) ?? '',
      ),
    },
  };
}

/** The load balancer's group: in from the stage's addresses alone, out to the console, and to Cognito for the sign-in. */
function createDoor(
  { settings }: Stage,
  network: Parts['network'],
  { allowedCidrs }: Console,
  group: Group,
): Group {
  if (allowedCidrs.some((cidr) => cidr.endsWith('/0'))) {
    throw new OpenConsoleError('console.allowedCidrs must name who may reach the console, not everyone');
  }
  const door = createGroup(network.vpc, 'ConsoleDoor');
  for (const cidr of allowedCidrs) acceptFrom(cidr, door, HTTPS);
  connect(door, group, settings.CONSOLE_PORT);
  connectOut(door, ANYWHERE, HTTPS);
  return door;
}

interface ServiceParts extends Parts {
  page: Console;
  group: Group;
  door: Group;
  logs: string;
}

function createService(parts: ServiceParts): sst.aws.Service {
  const { stage, network, kafka, store, functions, page, group, door, logs, list } = parts;
  const forward = `${stage.settings.CONSOLE_PORT}/http` as const;
  // The console asks for it too: whoever got past the load balancer has seen nothing yet.
  const token = createSecret(stage, {
    name: 'ConsoleToken',
    path: 'console/token',
    value: aws.secretsmanager.getRandomPasswordOutput({ passwordLength: 32, excludePunctuation: true })
      .randomPassword,
    keep: true,
  });
  const signIn = createSignIn(stage, page);
  const refuse = {
    ...signIn,
    authenticateCognito: { ...signIn.authenticateCognito, onUnauthenticatedRequest: 'deny' },
  };
  $transform(aws.lb.ListenerRule, (args, _options, name) => {
    if (name.startsWith('Console'))
      args.actions = $output(args.actions).apply((actions) => [refuse, ...actions]);
  });
  const service = new sst.aws.Service('Console', {
    wait: true,
    cluster: createCluster(network, group, {
      name: 'ConsoleCluster',
      loadBalancerSubnets: network.vpc.publicSubnets,
    }),
    architecture: 'arm64',
    cpu: '0.5 vCPU',
    memory: '1 GB',
    image: createImage({
      name: 'console',
      dockerfile: 'packages/console/Dockerfile',
      platform: 'linux/arm64',
    }),
    logging: { name: logs, retention: stage.logRetention },
    ssm: { CONSOLE_TOKEN: token.version },
    // Zones are shown, and changed where the list of cameras is kept.
    environment: {
      ...kafkaEnvironment(stage, kafka),
      STREAMS_FILE: list.url,
      ...environmentOf(stage, ['KAFKA_GROUP_ID', 'S3_PREFIX', 'CONSOLE_PORT', 'LOG_LEVEL']),
      ...Object.assign({}, ...Object.values(functions).map(({ switches }) => switches)),
      S3_BUCKET: store.name,
      HOST: '0.0.0.0',
      CONSOLE_URL: `https://${page.domain}`,
      AWS_REGION: aws.getRegionOutput().region,
    },
    loadBalancer: {
      domain: page.domain,
      rules: [
        { listen: `${HTTPS}/https`, forward },
        { listen: `${HTTPS}/https`, conditions: { path: API }, forward },
      ],
      health: { [forward]: { path: '/health', interval: '10 seconds', healthyThreshold: 2 } },
    },
    transform: {
      taskRole: taskRole(permissions(parts)),
      executionRole: executionRole(logs, [token.arn]),
      taskDefinition: (args) => {
        harden(args);
        giveTmp(args);
      },
      service: { enableExecuteCommand: false },
      // SST's own group lets everyone in. Ours takes its place, and it stays empty.
      loadBalancerSecurityGroup: { ingress: [], egress: [] },
      loadBalancer: {
        securityGroups: [door.id],
        idleTimeout: IDLE,
        dropInvalidHeaderFields: true,
        enableDeletionProtection: stage.protect,
      },
      target: { deregistrationDelay: DRAIN },
      listener: (args) => {
        args.sslPolicy = TLS_POLICY;
        args.defaultActions = $output(args.defaultActions).apply((actions) => [signIn, ...actions]);
      },
    },
  });
  refuseRollback('Console', service);
  return service;
}

/** A user pool in which an administrator makes the users, each with a second factor. */
function createSignIn(stage: Stage, { domain }: Console) {
  const pool = new aws.cognito.UserPool('ConsoleUsers', {
    name: `${$app.name}-${$app.stage}-console`,
    adminCreateUserConfig: { allowAdminCreateUserOnly: true },
    usernameAttributes: ['email'],
    autoVerifiedAttributes: ['email'],
    passwordPolicy: { minimumLength: 14, temporaryPasswordValidityDays: 7 },
    mfaConfiguration: 'ON',
    softwareTokenMfaConfiguration: { enabled: true },
    deletionProtection: stage.protect ? 'ACTIVE' : 'INACTIVE',
  });
  const client = new aws.cognito.UserPoolClient('ConsoleSignIn', {
    name: 'load-balancer',
    userPoolId: pool.id,
    generateSecret: true,
    allowedOauthFlowsUserPoolClient: true,
    allowedOauthFlows: ['code'],
    allowedOauthScopes: ['openid'],
    supportedIdentityProviders: ['COGNITO'],
    // Where the load balancer takes the answer, by its own rule.
    callbackUrls: [`https://${domain}/oauth2/idpresponse`],
  });
  const prefix = new aws.cognito.UserPoolDomain('ConsoleSignInPage', {
    userPoolId: pool.id,
    domain: $interpolate`${$app.name}-${$app.stage}-${aws.getCallerIdentityOutput().accountId}`,
  });
  return {
    type: 'authenticate-cognito',
    authenticateCognito: {
      userPoolArn: pool.arn,
      userPoolClientId: client.id,
      userPoolDomain: prefix.domain,
      scope: 'openid',
      sessionTimeout: SESSION,
      onUnauthenticatedRequest: 'authenticate',
    },
  };
}

/** Reads what it shows; writes a failed record back to the topic it came from, and then takes it out of `failed/`. */
function permissions({ stage, kafka, store, functions, list }: Parts): sst.aws.FunctionPermissionArgs[] {
  const { KAFKA_TOPIC, KAFKA_DETECTIONS_TOPIC, KAFKA_EVENTS_TOPIC, KAFKA_GROUP_ID, S3_PREFIX } =
    stage.settings;
  const objects = (...keys: string[]) => keys.map((key) => $interpolate`${store.arn}/${key}`);
  return [
    ...kafkaPermissions(kafka, {
      // Pictures that travel once are on the topic of frames alone.
      read: [
        KAFKA_DETECTIONS_TOPIC,
        KAFKA_EVENTS_TOPIC,
        ...(stage.settings.PICTURES === 'once' ? [KAFKA_TOPIC] : []),
      ],
      // It follows in groups of its own, each with a random end to its name.
      groups: [`${KAFKA_GROUP_ID}-console-*`],
      write: [KAFKA_TOPIC, KAFKA_DETECTIONS_TOPIC, KAFKA_EVENTS_TOPIC],
    }),
    kafkaStatement(
      Object.values(functions).map(({ group }) => kafkaArn(kafka, 'group', group)),
      'DescribeGroup',
    ),
    {
      actions: ['s3:GetObject'],
      resources: objects(
        `${S3_PREFIX}/*`,
        'detections/*',
        'events/*',
        'reviews/*',
        'tables/*',
        'clips/*',
        'failed/*',
        `${LOST_BATCHES}/*`,
        list.key,
      ),
    },
    // Which events somebody has looked at.
    { actions: ['s3:PutObject'], resources: objects('reviews/*') },
    { actions: ['s3:DeleteObject'], resources: objects('failed/*', `${LOST_BATCHES}/*`) },
    // Of the whole bucket: S3 says of an object that it is missing to those alone who may list without a condition.
    { actions: ['s3:ListBucket'], resources: [store.arn] },
  ];
}
