import { createReader, createStore } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';
import { type Compacted, compact } from './compact.ts';

const logger = createLogger('compact');
const bucket = { ...createReader(), ...createStore() };
/** How long before Lambda would stop the run it ends with a clear error, milliseconds. */
const MARGIN_MS = 20_000;

interface Order {
  /** Left out: all. */
  part?: string;
  expireDays?: number;
}

/**
 * The compactor as a Lambda function on a schedule, for one part of the hours.
 * @throws Error when there was more to do than one run can do; the next run goes on
 */
export async function handler(
  { part, expireDays }: Order,
  { getRemainingTimeInMillis }: { getRemainingTimeInMillis(): number },
): Promise<Compacted> {
  const signal = AbortSignal.timeout(Math.max(0, getRemainingTimeInMillis() - MARGIN_MS));
  try {
    const done = await compact(bucket, { part, expireDays, signal });
    logger.info('compacted', { part, ...done });
    return done;
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw new Error(`part ${part} is not done in the time of a function: the next run goes on`, { cause });
  }
}
