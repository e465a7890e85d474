import tablesPackage from '../packages/tables/package.json' with { type: 'json' };
import { EVENTS, PART_NAMES } from '../packages/tables/src/schema.ts';
import { createLogGroup } from './logs.ts';
import { metricsEnvironment } from './metrics.ts';
import { createGroup, type createNetwork, reachS3 } from './network.ts';
import { environmentOf } from './settings.ts';
import { COMPACTING, type Stage } from './stages.ts';
import { objects } from './storage.ts';

/** Most targets of an EventBridge rule. */
const TARGETS = 5;
/** Three minutes after each full hour. By then the hour's last batches are stored. */
const SCHEDULE = 'cron(3 * * * ? *)';
/** Together with the run's 14 minutes it is less than the hour until the next run. */
const LONGEST_WAIT_SECONDS = 2_700;

interface Parts {
  stage: Stage;
  network: ReturnType<typeof createNetwork>;
  store: sst.aws.Bucket;
}

export type Compactor = ReturnType<typeof createCompactor>;

/** The function that writes each past hour into the tables, with one call for each part of the hour. */
export function createCompactor({ stage, network, store }: Parts) {
  const group = createGroup(network.vpc, 'Compact');
  reachS3(network, group);
  const logs = createLogGroup(stage, 'compact');
  const { ndjsonDays } = stage.store;
  const fn = new sst.aws.Function('Compact', {
    handler: 'packages/tables/src/lambda.handler',
    runtime: 'nodejs24.x',
    architecture: 'arm64',
    // DuckDB gets half of it. The text of an object is in memory while it is read.
    memory: '3008 MB',
    timeout: '14 minutes',
    storage: '4 GB',
    logging: { logGroup: logs.name, format: 'json' },
    environment: {
      ...environmentOf(stage, ['LOG_LEVEL']),
      ...metricsEnvironment(stage),
      S3_BUCKET: store.name,
    },
    permissions: [
      objects(store, 's3:GetObject', ['detections/*', 'events/*', 'tables/*']),
      objects(store, 's3:PutObject', ['tables/*']),
      objects(store, 's3:DeleteObject', ['late/*', ...(ndjsonDays ? ['detections/*'] : [])]),
      { actions: ['s3:ListBucket'], resources: [store.arn] },
      // For Lambda's network interfaces in the VPC. AWS supports no narrower resource for these actions.
      {
        actions: [
          'ec2:AssignPrivateIpAddresses',
          'ec2:UnassignPrivateIpAddresses',
          'ec2:CreateNetworkInterface',
          'ec2:DeleteNetworkInterface',
          'ec2:DescribeNetworkInterfaces',
          'ec2:DescribeSubnets',
        ],
        resources: ['*'],
      },
      { actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [$interpolate`${logs.arn}:*`] },
    ],
    concurrency: { reserved: COMPACTING },
    // DuckDB's native code, 70 MB, is installed for the architecture of the function.
    nodejs: {
      install: { '@duckdb/node-api': tablesPackage.dependencies['@duckdb/node-api'] },
      minify: true,
    },
    vpc: $dev ? undefined : { securityGroups: [group.id], privateSubnets: network.vpc.privateSubnets },
    transform: { role: { managedPolicyArns: [] } },
  });
  // The next hour's run repeats what failed. Two concurrent runs of a part would do its work twice: so a run that waits
  // for a free place is dropped before the next hour.
  new aws.lambda.FunctionEventInvokeConfig('CompactOnce', {
    functionName: fn.name,
    maximumRetryAttempts: 0,
    maximumEventAgeInSeconds: LONGEST_WAIT_SECONDS,
  });
  const parts = [...PART_NAMES, EVENTS];
  for (let first = 0; first < parts.length; first += TARGETS) {
    const number = first / TARGETS + 1;
    const rule = new aws.cloudwatch.EventRule(`CompactRule${number}`, { scheduleExpression: SCHEDULE });
    new aws.lambda.Permission(`CompactPermission${number}`, {
      action: 'lambda:InvokeFunction',
      function: fn.name,
      principal: 'events.amazonaws.com',
      sourceArn: rule.arn,
    });
    for (const part of parts.slice(first, first + TARGETS)) {
      new aws.cloudwatch.EventTarget(`CompactPart${part}`, {
        rule: rule.name,
        targetId: part,
        arn: fn.arn,
        input: JSON.stringify({ part, expireDays: ndjsonDays }),
      });
    }
  }
  return { fn, logs };
}
