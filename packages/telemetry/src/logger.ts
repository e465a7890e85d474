import { Logger } from '@aws-lambda-powertools/logger';

export type { Logger } from '@aws-lambda-powertools/logger';

/** A structured logger: one JSON object a line on stdout; LOG_LEVEL is read by Powertools itself. */
export function createLogger(service: string): Logger {
  return new Logger({ serviceName: service });
}
