import { LOST_BATCHES } from '@video-pipeline/frame';
import { createCluster, createService as createTasks } from './ecs.ts';
import type { Functions } from './functions.ts';
import { createImage } from './images.ts';
import { kafkaPermissions } from './kafka.ts';
import { logGroupName } from './logs.ts';
import {
  ANYWHERE,
  acceptFrom,
  connect,
  connectOut,
  createGroup,
  type Group,
  HTTPS,
  type Network,
  reachAws,
  reachS3,
} from './network.ts';
import { createSecret } from './secrets.ts';
import { environmentOf, KAFKA_IAM_PORT } from './settings.ts';
import { type Parts as Inputs, kafkaEnvironment } from './stage-function.ts';
import { type Console, type Stage, TASKS } from './stages.ts';
import { objects } from './storage.ts';

interface Parts extends Omit<Inputs, 'inference'> {
  functions: Functions;
}

/** TLS 1.2 with forward secrecy, or 1.3. */
const TLS_POLICY = 'ELBSecurityPolicy-TLS13-1-2-2021-06';
/** Length of a session, seconds. After it the browser signs in again. */
const SESSION = 12 * 3600;
/**
 * Paths that the page's scripts request. After the end of the session these requests are refused. The page then reloads
 * itself, which leads to the sign-in. A redirect of such a request to Cognito would fail without a message (CORS).
 */
const API = '/api/*';
/** Idle time after which a connection is closed, seconds. The console sends its health every 2 s. */
const IDLE = 60;
/** How long a browser's event stream may delay the end of an old task, seconds. The browser reconnects by itself. */
const DRAIN = 15;

/**
 * The console on ECS, in private subnets, behind a load balancer with TLS and sign-in by Cognito.
 * @throws Error when the stage allows every address
 */
export function createConsole(parts: Parts) {
  const { stage, network, kafka } = parts;
  if (!stage.console || $dev) return undefined;
  const group = createGroup(network.vpc, 'Console');
  connect(group, kafka.group, KAFKA_IAM_PORT);
  reachAws(network, group);
  reachS3(network, group);
  const balancerGroup = createBalancerGroup(stage, network, stage.console, group);
  const logs = logGroupName('console');
  const service = createService({ ...parts, page: stage.console, group, balancerGroup, logs });
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

/** The load balancer's security group: inbound from the stage's addresses only, outbound to the console and Cognito. */
function createBalancerGroup(
  { settings }: Stage,
  network: Network,
  { allowedCidrs }: Console,
  group: Group,
): Group {
  if (allowedCidrs.some((cidr) => cidr.endsWith('/0'))) {
    throw new Error('console.allowedCidrs must name who may reach the console, not everyone');
  }
  const balancerGroup = createGroup(network.vpc, 'ConsoleBalancer');
  for (const cidr of allowedCidrs) acceptFrom(cidr, balancerGroup, HTTPS);
  connect(balancerGroup, group, settings.CONSOLE_PORT);
  connectOut(balancerGroup, ANYWHERE, HTTPS);
  return balancerGroup;
}

interface ServiceParts extends Parts {
  page: Console;
  group: Group;
  balancerGroup: Group;
  logs: string;
}

function createService(parts: ServiceParts): sst.aws.Service {
  const { stage, network, kafka, store, functions, page, group, balancerGroup, logs, list } = parts;
  const forward = `${stage.settings.CONSOLE_PORT}/http` as const;
  // The console requires a token too, as a second protection behind the load balancer.
  const CONSOLE_TOKEN = createSecret('ConsoleToken', {
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
  return createTasks('Console', {
    stage,
    logs,
    wait: true,
    cluster: createCluster(network, group, {
      name: 'ConsoleCluster',
      loadBalancerSubnets: network.vpc.publicSubnets,
    }),
    spot: false,
    ...TASKS.console,
    image: createImage('console', 'packages/console/Dockerfile'),
    secrets: { CONSOLE_TOKEN },
    permissions: permissions(parts),
    tmp: true,
    // The console only shows zones here. They are changed in CAMERAS_FILE.
    environment: {
      ...kafkaEnvironment(stage, kafka),
      STREAMS_FILE: list.url,
      ...environmentOf(stage, [
        'KAFKA_GROUP_ID',
        'S3_PREFIX',
        'CONSOLE_PORT',
        'LOG_LEVEL',
        'STORE',
        'STORE_CLASSES',
        'DRAW_BOXES',
      ]),
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
      // SST's own security group allows everyone. It stays without rules, and ours replaces it.
      loadBalancerSecurityGroup: { ingress: [], egress: [] },
      loadBalancer: {
        securityGroups: [balancerGroup.id],
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
}

/** A user pool in which only an administrator creates users, each with a second factor. */
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
    preventUserExistenceErrors: 'ENABLED',
    allowedOauthFlowsUserPoolClient: true,
    allowedOauthFlows: ['code'],
    allowedOauthScopes: ['openid'],
    supportedIdentityProviders: ['COGNITO'],
    // The load balancer handles the answer at this path.
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

/** Rights to read what the console shows, to mark events as reviewed, and to move dead letters back to their topics. */
function permissions({ stage, kafka, store, functions, list }: Parts): sst.aws.FunctionPermissionArgs[] {
  const { KAFKA_TOPIC, KAFKA_DETECTIONS_TOPIC, KAFKA_EVENTS_TOPIC, KAFKA_GROUP_ID, S3_PREFIX } =
    stage.settings;
  const folders = [S3_PREFIX, 'detections', 'events', 'reviews', 'tables', 'clips', 'failed', LOST_BATCHES];
  return [
    ...kafkaPermissions(kafka, {
      // With PICTURES=once the pictures are on the topic of frames only.
      read: [
        KAFKA_DETECTIONS_TOPIC,
        KAFKA_EVENTS_TOPIC,
        ...(stage.settings.PICTURES === 'once' ? [KAFKA_TOPIC] : []),
      ],
      // The console's consumer groups have random suffixes.
      groups: [`${KAFKA_GROUP_ID}-console-*`],
      watch: { groups: Object.values(functions).map(({ group }) => group) },
      write: [KAFKA_TOPIC, KAFKA_DETECTIONS_TOPIC, KAFKA_EVENTS_TOPIC],
    }),
    objects(store, 's3:GetObject', [...folders.map((folder) => `${folder}/*`), list.key]),
    // Which events have been reviewed.
    objects(store, 's3:PutObject', ['reviews/*']),
    objects(store, 's3:DeleteObject', ['failed/*', `${LOST_BATCHES}/*`]),
    // For the whole bucket: S3 reports a missing object (404) only to callers that may list without a condition.
    { actions: ['s3:ListBucket'], resources: [store.arn] },
  ];
}
