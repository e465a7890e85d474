import type { Stage } from './stages.ts';

const DAYS = { '1 week': 7, '1 month': 30, '1 year': 365 } as const;

/** Name of the log group of one part of the pipeline. */
export const logGroupName = (part: string) => `/${$app.name}/${$app.stage}/${part}`;

/** Makes the log group of one part. */
export function createLogGroup(stage: Stage, part: string): aws.cloudwatch.LogGroup {
  return new aws.cloudwatch.LogGroup(`${part[0].toUpperCase()}${part.slice(1)}Logs`, {
    name: logGroupName(part),
    retentionInDays: DAYS[stage.logRetention],
  });
}
