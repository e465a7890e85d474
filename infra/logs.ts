import type { Stage } from './stages.ts';

const DAYS = { '1 week': 7, '1 month': 30, '1 year': 365 } as const;

/** Name of the log group of one part of the pipeline. */
export const logGroupName = (part: string) => `/${$app.name}/${$app.stage}/${part}`;

/** Creates a log group with a retention. Otherwise an AWS service would create it, and keep its logs for ever. */
export function keepLogs(stage: Stage, resource: string, name: string): aws.cloudwatch.LogGroup {
  return new aws.cloudwatch.LogGroup(resource, { name, retentionInDays: DAYS[stage.logRetention] });
}

/**
 * Creates the log group of logs that AWS itself delivers. AWS lists other names one by one in the account's resource
 * policy, which may have 5,120 characters.
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-CWL.html
 */
export const keepDeliveredLogs = (stage: Stage, resource: string, path: string) =>
  keepLogs(stage, resource, `/aws/vendedlogs/${path}`);
