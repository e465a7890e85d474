import { claimedStream, LOST_BATCHES, type MSKEvent, type MSKRecord } from '@video-pipeline/frame';
import { STAGES } from '@video-pipeline/stages';
import { type Bucket, semaphoreOf } from '@video-pipeline/storage';

/** A batch that an event-source mapping gave up on. */
interface LostBatch {
  key: string;
  /** The stage whose function got the batch, or the name of a function that is not of this pipeline. */
  stage: string;
  reason: string;
  /** ISO 8601, UTC. */
  time: string;
  records: MSKRecord[];
}

/** An object that neither a stage nor a mapping wrote, or that can't be put back. */
export class FailedEntryError extends Error {
  override readonly name = 'FailedEntryError';
}

/** Longest batch that is read, bytes: an event of 6 MB within JSON, and the facts around it. */
const MAX_BATCH_BYTES = 16 * 1024 * 1024;

export const isLostBatch = (key: string): boolean => key.startsWith(`${LOST_BATCHES}/`);

/** Two batches are read side by side: each takes several times its bytes of memory. */
const together = semaphoreOf(2);

/** @throws FailedEntryError naming the key */
export function readLostBatch(bucket: Pick<Bucket, 'head'>, key: string): Promise<LostBatch> {
  return together(1, async () => {
    const { bytes, size } = await bucket.head(key, MAX_BATCH_BYTES);
    if (bytes.length < size) throw new FailedEntryError(`${key} has ${size} bytes, over ${MAX_BATCH_BYTES}`);
    return parseLostBatch(key, bytes.toString());
  });
}

/**
 * Reads the invocation record that Lambda writes to an S3 destination.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html
 * @throws FailedEntryError naming the key
 */
function parseLostBatch(key: string, text: string): LostBatch {
  try {
    const { requestContext, timestamp, payload } = JSON.parse(text);
    const event: MSKEvent = typeof payload === 'string' ? JSON.parse(payload) : payload;
    const records = Object.values(event.records).flat();
    if (records.length === 0 || records.some(({ topic }) => typeof topic !== 'string'))
      throw new Error('it holds no records');
    // Checked here, since every list of entries reads the streams.
    records.forEach(claimedStream);
    const { functionArn, condition, approximateInvokeCount } = requestContext;
    return {
      key,
      stage: stageOf(String(functionArn)),
      reason: `${condition} after ${approximateInvokeCount} attempts, ${records.length} records`,
      time: new Date(timestamp).toISOString(),
      records,
    };
  } catch (cause) {
    throw new FailedEntryError(`${key} is no batch of records: ${(cause as Error).message}`, { cause });
  }
}

/** `...:function:video-pipeline-production-DetectFunction-abcd`, or the path of a handler on this machine. */
function stageOf(functionName: string): string {
  const own = STAGES.find(({ name }) =>
    new RegExp(`[-/:]${name}(Function\\b|\\.ts$)`, 'i').test(functionName),
  );
  return own?.name ?? functionName;
}
