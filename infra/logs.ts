import { title } from './settings.ts';
import type { Stage } from './stages.ts';

const DAYS = { '1 week': 7, '1 month': 30, '1 year': 365 } as const;

/** Name of the log group of one part of the pipeline. */
export const logGroupName = (part: string) => `/${$app.name}/${$app.stage}/${part}`;

/** Creates a log group with a retention. Otherwise an AWS service would create it, and keep its logs for ever. */
export function keepLogs(stage: Stage, resource: string, name: string): aws.cloudwatch.LogGroup {
  return new aws.cloudwatch.LogGroup(resource, { name, retentionInDays: DAYS[stage.logRetention] });
}

/** Creates the log group of one part. */
export function createLogGroup(stage: Stage, part: string): aws.cloudwatch.LogGroup {
  return keepLogs(stage, `${title(part)}Logs`, logGroupName(part));
}
