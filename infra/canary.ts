import { CANARY_STOPPED_KEY } from '@video-pipeline/frame';
import { createLogGroup } from './logs.ts';
import type { Stage } from './stages.ts';
import { objects } from './storage.ts';

/**
 * The function that an alarm of the canary calls. It writes the object by which detect stops using the canary.
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions.html
 */
export function createStopCanary(stage: Stage, store: sst.aws.Bucket): sst.aws.Function {
  const logs = createLogGroup(stage, 'stop-canary');
  return new sst.aws.Function('StopCanary', {
    handler: 'functions/src/stop-canary.handler',
    runtime: 'nodejs24.x',
    architecture: 'arm64',
    memory: '256 MB',
    timeout: '30 seconds',
    logging: { logGroup: logs.name, format: 'json' },
    environment: { S3_BUCKET: store.name },
    permissions: [
      objects(store, 's3:PutObject', [CANARY_STOPPED_KEY]),
      { actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [$interpolate`${logs.arn}:*`] },
    ],
    nodejs: { minify: true },
    transform: { role: { managedPolicyArns: [] } },
  });
}

/** Allows one alarm to call the function. */
export function letAlarmStop(name: string, alarm: aws.cloudwatch.MetricAlarm, stop: sst.aws.Function): void {
  new aws.lambda.Permission(`${name}Stops`, {
    action: 'lambda:InvokeFunction',
    function: stop.name,
    principal: 'lambda.alarms.cloudwatch.amazonaws.com',
    sourceArn: alarm.arn,
  });
}
