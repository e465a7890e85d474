import { CANARY_STOPPED_KEY, LOST_BATCHES } from '@video-pipeline/frame';
import { ALARM_PERIOD, type Alarm, alarms, runbookOf, stopsCanary } from './alarms.ts';
import { arnHere } from './arn.ts';
import type { Compactor } from './compact.ts';
import type { createConsole } from './console.ts';
import { dashboardBody } from './dashboard.ts';
import type { Functions } from './functions.ts';
import type { createIngest } from './ingest.ts';
import { createLambda } from './lambda.ts';
import { searched } from './metrics.ts';
import { deployment } from './settings.ts';
import type { Parts as Inputs } from './stage-function.ts';
import type { Stage } from './stages.ts';
import { objects } from './storage.ts';

interface Parts extends Pick<Inputs, 'stage' | 'kafka' | 'inference' | 'store'> {
  functions: Functions;
  compactor: Compactor;
  ingest: ReturnType<typeof createIngest>;
  page: ReturnType<typeof createConsole>;
}

/** Saved queries of Logs Insights: the first ones to run when something is wrong. */
const QUERIES = {
  Errors: `fields @timestamp, @log, message, error.name, error.message
| filter level in ["ERROR", "CRITICAL"]
| sort @timestamp desc
| limit 100`,
  FailedFrames: `fields @timestamp, service, stream, FramesFailed
| filter FramesFailed > 0
| stats sum(FramesFailed) as failed by service, stream, bin(5m)`,
  // Logs Insights makes a field of each value of a list: the query counts only the first frame of a batch.
  SlowestStreams: `fields coalesce(CaptureToStored.0, CaptureToStored) as latency
| filter ispresent(latency)
| stats pct(latency, 50) as p50, pct(latency, 95) as p95 by stream
| sort p95 desc`,
};

/** Dashboard, alarms and their topic, saved queries. @returns the dashboard's address */
export function createObservation(parts: Parts): $util.Output<string> {
  const { stage, kafka, functions, compactor, ingest, inference, store, page } = parts;
  const topic = new sst.aws.SnsTopic('Alarms');
  const { ALARM_EMAIL } = deployment();
  if (ALARM_EMAIL) {
    new aws.sns.TopicSubscription('AlarmsEmail', {
      topic: topic.arn,
      protocol: 'email',
      endpoint: ALARM_EMAIL,
    });
  }
  notifyLostBatches(topic, store);
  const lost = new aws.s3.BucketMetric('LostBatches', {
    bucket: store.name,
    name: 'lost-batches',
    filter: { prefix: `${LOST_BATCHES}/` },
  });
  const region = aws.getRegionOutput().region;
  const names = $resolve({
    region,
    clusterName: kafka.clusterName,
    lostBatches: $resolve({ bucket: lost.bucket, filter: lost.name }),
    functions: $resolve(
      Object.fromEntries(Object.entries(functions).map(([name, { fn }]) => [name, fn?.name ?? ''])),
    ),
    compactor: compactor.fn.name,
    eksCluster: $output(inference.metrics.eksCluster),
    endpoint: $output(inference.metrics.endpoint),
    page: $output(page?.metrics),
  });
  const name = `${$app.name}-${$app.stage}`;
  new aws.cloudwatch.Dashboard('Dashboard', {
    dashboardName: name,
    dashboardBody: names.apply((known) => dashboardBody({ ...known, stage })),
  });
  const { hasCanary, fallsBack } = inference;
  const stop = hasCanary ? createStopCanary(stage, store) : undefined;
  names.apply((known) => {
    const all = alarms({ ...known, stage, hasCanary, fallsBack, streams: ingest.streams });
    for (const alarm of all) createAlarm(alarm, topic.arn, stopsCanary(alarm) ? stop : undefined);
  });
  const logGroupNames = searched([
    ...Object.values(functions).map(({ logs }) => logs.name),
    compactor.logs.name,
    ...(page ? [page.logs] : []),
    ...ingest.logGroups,
  ]);
  for (const [title, queryString] of Object.entries(QUERIES))
    new aws.cloudwatch.QueryDefinition(`Query${title}`, {
      name: `${name}/${title}`,
      logGroupNames,
      queryString,
    });
  return $interpolate`https://${region}.console.aws.amazon.com/cloudwatch/home?region=${region}#dashboards/dashboard/${name}`;
}

/**
 * Sends a message for each batch that Lambda gave up on. A topic has one policy, which must allow all publishers. The
 * policy of SST's `store.notify` would allow S3 only, and so block all alarms.
 */
function notifyLostBatches(topic: sst.aws.SnsTopic, store: sst.aws.Bucket): void {
  const publish = (service: string, from: $util.Input<string>) => ({
    actions: ['sns:Publish'],
    resources: [topic.arn],
    principals: [{ type: 'Service', identifiers: [service] }],
    conditions: [{ test: 'ArnLike', variable: 'aws:SourceArn', values: [from] }],
  });
  const policy = new aws.sns.TopicPolicy('AlarmsPolicy', {
    arn: topic.arn,
    policy: aws.iam.getPolicyDocumentOutput({
      statements: [
        publish('cloudwatch.amazonaws.com', arnHere('cloudwatch', 'alarm:*')),
        publish('s3.amazonaws.com', store.arn),
      ],
    }).json,
  });
  new aws.s3.BucketNotification(
    'StoreNotification',
    {
      bucket: store.name,
      topics: [{ topicArn: topic.arn, events: ['s3:ObjectCreated:*'], filterPrefix: `${LOST_BATCHES}/` }],
    },
    // S3 checks its permission to publish when the notification is created.
    { dependsOn: [policy] },
  );
}

/**
 * The function that an alarm of the canary calls. It writes the object by which detect stops using the canary.
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions.html
 */
function createStopCanary(stage: Stage, store: sst.aws.Bucket): sst.aws.Function {
  return createLambda({
    stage,
    part: 'stop-canary',
    name: 'StopCanary',
    handler: 'functions/src/stop-canary.handler',
    memoryMb: 256,
    timeoutSeconds: 30,
    environment: { S3_BUCKET: store.name },
    permissions: [objects(store, 's3:PutObject', [CANARY_STOPPED_KEY])],
  }).fn;
}

/** @param stop function that the alarm calls besides its notification */
function createAlarm(
  { key, metric, description, ...rules }: Alarm,
  topicArn: $util.Output<string>,
  stop?: sst.aws.Function,
): void {
  const name = `Alarm-${key}`;
  const alarm = new aws.cloudwatch.MetricAlarm(name, {
    ...rules,
    alarmDescription: `${description} See ${runbookOf({ key })}.`,
    alarmActions: stop ? [topicArn, stop.arn] : [topicArn],
    okActions: [topicArn],
    ...measured(metric),
  });
  if (!stop) return;
  new aws.lambda.Permission(`${name}Stops`, {
    action: 'lambda:InvokeFunction',
    function: stop.name,
    principal: 'lambda.alarms.cloudwatch.amazonaws.com',
    sourceArn: alarm.arn,
  });
}

/** The metric of an alarm, in the fields of `aws.cloudwatch.MetricAlarm`. */
function measured(metric: Alarm['metric']) {
  if ('query' in metric) {
    return { metricQueries: [{ id: 'q', expression: metric.query, period: ALARM_PERIOD, returnData: true }] };
  }
  if ('expression' in metric) {
    const parts = Object.entries(metric.of).map(([id, { name: metricName, statistic: stat, ...rest }]) => ({
      id,
      metric: { ...rest, metricName, stat, period: ALARM_PERIOD },
    }));
    return { metricQueries: [{ id: 'compared', expression: metric.expression, returnData: true }, ...parts] };
  }
  const { namespace, name: metricName, dimensions, statistic } = metric;
  const kind = statistic.startsWith('p') ? 'extendedStatistic' : 'statistic';
  return { namespace, metricName, dimensions, period: ALARM_PERIOD, [kind]: statistic };
}
