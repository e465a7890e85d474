import { claimedStream, fromLambdaRecord, type MSKRecord } from '@video-pipeline/frame';
import type { Producer } from '@video-pipeline/kafka';
import type { FailedRecord } from '@video-pipeline/storage';
import type { Bucket } from './bucket.ts';
import { FailedEntryError, isLostBatch, LOST_BATCHES, readLostBatch } from './lost-batches.ts';

export { FailedEntryError, LOST_BATCHES } from './lost-batches.ts';

/** What to choose from `failed/`; left out, everything. */
export interface FailedFilter {
  stage?: string | undefined;
  stream?: string | undefined;
  /** Why it failed, as docs/failures.md names it. */
  code?: string | undefined;
  /** Text that the reason holds. */
  reason?: string | undefined;
  /** Failed at this time or later. */
  from?: Date | undefined;
  /** Failed before this time. */
  to?: Date | undefined;
}

export interface FailedEntry extends FailedRecord {
  key: string;
  /** Length of the record's value; of a record that was listed, its value is not read where it is long. */
  bytes: number;
  /** Of a batch that a mapping gave up on, whole: all its records, of which `record` is the first. */
  batch?: MSKRecord[];
}

/** Read of each entry that is listed, bytes: all of it but a long value. */
const HEAD_BYTES = 16 * 1024;
/** The longest entry that is read whole, bytes: what an event carries, and what is said of it. */
const MAX_ENTRY_BYTES = 8 * 1024 * 1024;

/**
 * Everything in `failed/`, and the batches that mappings gave up on, that the filter chooses; by key, each of the first
 * without a long value.
 * @param onOther takes what is no failed record, which left out is thrown
 */
export async function* listFailed(
  bucket: Bucket,
  filter: FailedFilter = {},
  onOther: (error: FailedEntryError) => void = (error) => {
    throw error;
  },
): AsyncGenerator<FailedEntry> {
  for await (const key of failedKeys(bucket, filter)) {
    let entry: FailedEntry;
    try {
      entry = await readFailedHead(bucket, key);
    } catch (error) {
      if (!(error instanceof FailedEntryError)) throw error;
      onOther(error);
      continue;
    }
    if (isChosen(entry, filter)) yield entry;
  }
}

async function* failedKeys(bucket: Bucket, { stage }: FailedFilter): AsyncGenerator<string> {
  yield* bucket.list(stage ? `failed/${stage}/` : 'failed/');
  // Their keys do not tell the stage.
  yield* bucket.list(LOST_BATCHES);
}

/** @throws FailedEntryError naming the key */
async function readBatch(bucket: Pick<Bucket, 'head'>, key: string): Promise<FailedEntry> {
  const { records, ...batch } = await readLostBatch(bucket, key);
  const bytes = records.reduce((sum, { value }) => sum + Buffer.byteLength(value ?? '', 'base64'), 0);
  return { ...batch, record: records[0] as MSKRecord, batch: records, bytes };
}

/** The entry without a long value. @throws FailedEntryError naming the key */
export async function readFailedHead(bucket: Bucket, key: string): Promise<FailedEntry> {
  if (isLostBatch(key)) return readBatch(bucket, key);
  const { bytes, size } = await bucket.head(key, HEAD_BYTES);
  if (bytes.length >= size) return parseFailed(key, bytes.toString());
  const { text, left } = withoutValue(bytes.toString());
  const entry = parseFailed(key, text);
  // Of the rest, nearly all is the value in base64.
  return { ...entry, bytes: Math.floor(((size - left) * 3) / 4) };
}

/** @throws FailedEntryError naming the key */
export async function readFailed(bucket: Bucket, key: string): Promise<FailedEntry> {
  if (isLostBatch(key)) return readBatch(bucket, key);
  const { bytes, size } = await bucket.head(key, MAX_ENTRY_BYTES);
  if (bytes.length < size) throw new FailedEntryError(`${key} has ${size} bytes, over ${MAX_ENTRY_BYTES}`);
  return parseFailed(key, bytes.toString());
}

/** Closes the JSON of an entry before its record's value, or after the last header that was read whole. */
function withoutValue(start: string): { text: string; left: number } {
  const value = start.indexOf(',"value":"');
  if (value >= 0) return { text: `${start.slice(0, value)},"value":""}}`, left: value };
  const headers = start.indexOf(',"headers":[');
  if (headers < 0) return { text: start, left: start.length };
  const last = start.lastIndexOf(']},{"');
  const end = last > headers ? last + 2 : headers + ',"headers":['.length;
  return { text: `${start.slice(0, end)}],"value":""}}`, left: end };
}

/** @throws FailedEntryError naming the key */
export function parseFailed(key: string, text: string): FailedEntry {
  try {
    const entry: FailedRecord = JSON.parse(text);
    const { record } = entry;
    if (typeof record.topic !== 'string' || !Array.isArray(record.headers))
      throw new Error('it holds no record');
    // Whoever lists entries reads these.
    claimedStream(record);
    const bytes = entry.reference?.bytes ?? Buffer.byteLength(record.value ?? '', 'base64');
    return { ...entry, reason: String(entry.reason), key, bytes };
  } catch (cause) {
    throw new FailedEntryError(`${key} is not a failed record: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Puts the entry's record, or all records of its batch, back on the topic they came from, as they were; then, once Kafka
 * has them, deletes the entry. A crash in between leaves them in both places, never in none.
 * @throws FailedEntryError for one that is kept by reference
 */
export async function redrive(
  bucket: Bucket,
  producer: Producer,
  { key: entryKey }: Pick<FailedEntry, 'key'>,
): Promise<void> {
  const entry = await readFailed(bucket, entryKey);
  if (entry.reference) {
    const { first_offset: first, last_offset: last } = entry.reference;
    const { topic, partition } = entry.record;
    throw new FailedEntryError(
      `${entryKey} is kept by reference: its records are offsets ${first} to ${last} of ${topic}-${partition}`,
    );
  }
  for (const [topic, records] of Map.groupBy(entry.batch ?? [entry.record], ({ topic }) => topic)) {
    const messages = records.map((record) => {
      const { key, value, headers } = fromLambdaRecord(record);
      return { key, value, headers: headers as Record<string, Buffer> };
    });
    await producer.send({ topic, messages });
  }
  await bucket.remove([entryKey]);
}

/** A batch is chosen by any of its records, and put back whole. */
export function isChosen(
  entry: FailedEntry,
  { stage, stream, code, reason, from, to }: FailedFilter,
): boolean {
  const time = new Date(entry.time);
  const { batch = [entry.record] } = entry;
  return (
    (stage === undefined || !entry.batch || entry.stage === stage) &&
    (code === undefined || entry.code === code) &&
    (stream === undefined || batch.some((record) => claimedStream(record) === stream)) &&
    (reason === undefined || entry.reason.includes(reason)) &&
    (from === undefined || time >= from) &&
    (to === undefined || time < to)
  );
}
