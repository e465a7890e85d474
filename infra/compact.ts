import tablesPackage from '../packages/tables/package.json' with { type: 'json' };
import { EVENTS, PART_NAMES } from '../packages/tables/src/schema.ts';
import { chunk } from './cameras.ts';
import { createLambda } from './lambda.ts';
import { metricsEnvironment } from './metrics.ts';
import { createGroup, reachS3 } from './network.ts';
import { environmentOf } from './settings.ts';
import type { Parts } from './stage-function.ts';
import { COMPACTING, COMPACTOR_MB } from './stages.ts';
import { objects } from './storage.ts';

const duckdb = tablesPackage.dependencies['@duckdb/node-api'];
/** Most targets of an EventBridge rule. */
const TARGETS = 5;
/** Three minutes after each full hour. By then the hour's last batches are stored. */
const SCHEDULE = 'cron(3 * * * ? *)';
/** Together with the run's 14 minutes it is less than the hour until the next run. */
const LONGEST_WAIT_SECONDS = 2_700;

export type Compactor = ReturnType<typeof createCompactor>;

/** The function that writes each past hour into the tables, with one call for each part of the hour. */
export function createCompactor({ stage, network, store }: Pick<Parts, 'stage' | 'network' | 'store'>) {
  const group = createGroup(network.vpc, 'Compact');
  reachS3(network, group);
  const { ndjsonDays } = stage.store;
  const { fn, logs } = createLambda({
    stage,
    part: 'compact',
    within: { network, group },
    handler: 'packages/tables/src/lambda.handler',
    memoryMb: COMPACTOR_MB,
    timeoutSeconds: 840,
    storage: '4 GB',
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
    ],
    concurrency: { reserved: COMPACTING },
    // Both by name: on macOS npm leaves out what is optional and for glibc. SST names the libc only beside sharp.
    install: { '@duckdb/node-api': duckdb, '@duckdb/node-bindings-linux-arm64': duckdb },
  });
  // The next hour's run repeats what failed. Two concurrent runs of a part would do its work twice: so a run that waits
  // for a free place is dropped before the next hour.
  new aws.lambda.FunctionEventInvokeConfig('CompactOnce', {
    functionName: fn.name,
    maximumRetryAttempts: 0,
    maximumEventAgeInSeconds: LONGEST_WAIT_SECONDS,
  });
  for (const [index, parts] of chunk([...PART_NAMES, EVENTS], TARGETS).entries()) {
    const number = index + 1;
    const rule = new aws.cloudwatch.EventRule(`CompactRule${number}`, { scheduleExpression: SCHEDULE });
    new aws.lambda.Permission(`CompactPermission${number}`, {
      action: 'lambda:InvokeFunction',
      function: fn.name,
      principal: 'events.amazonaws.com',
      sourceArn: rule.arn,
    });
    for (const part of parts) {
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
