import { CANARY_STOPPED_KEY } from '@video-pipeline/frame';
import { createLambda } from './lambda.ts';
import type { Stage } from './stages.ts';
import { objects } from './storage.ts';

/**
 * The function that an alarm of the canary calls. It writes the object by which detect stops using the canary.
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions.html
 */
export function createStopCanary(stage: Stage, store: sst.aws.Bucket): sst.aws.Function {
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

/** Allows one alarm to call the function. */
export function letAlarmStop(name: string, alarm: aws.cloudwatch.MetricAlarm, stop: sst.aws.Function): void {
  new aws.lambda.Permission(`${name}Stops`, {
    action: 'lambda:InvokeFunction',
    function: stop.name,
    principal: 'lambda.alarms.cloudwatch.amazonaws.com',
    sourceArn: alarm.arn,
  });
}
