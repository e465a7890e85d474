import { createReader, createStore } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';
import { type Compacted, compact } from './compact.ts';

const logger = createLogger('compact');
const bucket = { ...createReader(), ...createStore() };

/** The compactor as Lambda runs it by its schedule, for one part of the hours; without a part, for all. */
export async function handler({ part }: { part?: string }): Promise<Compacted> {
  const done = await compact(bucket, { part });
  logger.info('compacted', { part, ...done });
  return done;
}
