/**
 * Where a stack's files are, whether it runs, and parsers for a command line. This module loads neither Kafka's client
 * nor the AWS SDK, which take half of a command's start.
 */
import { join } from 'node:path';

export * from './command-line.ts';
export { openBrowser } from './open.ts';
export { fallbackCredentials, localCredentials, s3Environment } from './servers/credentials.ts';
export { parseSources, type Source } from './sources.ts';
export { errorIn } from './supervisor/log.ts';
export { StartError, signalProcess, supervisorOf, unwritable } from './supervisor/processes.ts';

/** The root of the repository: processes are started by their path in it. */
export const ROOT = join(import.meta.dirname, '../../..');

/** S3Proxy's buckets are folders. */
export function bucketFolder(dataDir: string, bucket: string): string {
  return join(dataDir, 's3', bucket);
}

/** The file with the state of a supervisor's pipeline. */
export function stateFile(dataDir: string): string {
  return join(dataDir, 'run', 'state.json');
}
