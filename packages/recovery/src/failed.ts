import type { Config } from '@video-pipeline/config';
import {
  claimedStream,
  fromLambdaRecord,
  LOST_BATCHES,
  type MSKRecord,
  withoutCheckpoint,
} from '@video-pipeline/frame';
import { type Producer, TooLargeError } from '@video-pipeline/kafka';
import { type TopicVariable, topicsOf } from '@video-pipeline/stages';
import { type Bucket, type FailedRecord, ifThere } from '@video-pipeline/storage';
import { DiskMap } from './disk-map.ts';
import { FailedEntryError, isLostBatch, readLostBatch } from './lost-batches.ts';

export { FailedEntryError } from './lost-batches.ts';

/** Selects entries of `failed/`. Each condition may be left out. */
export interface FailedFilter {
  stage?: string | undefined;
  stream?: string | undefined;
  /** Failure code, as in docs/failures.md. */
  code?: string | undefined;
  reason?: string | undefined;
  from?: Date | undefined;
  to?: Date | undefined;
}

export interface FailedEntry extends FailedRecord {
  key: string;
  /** Length of the record's value. In a list, a long value is not read. */
  bytes: number;
  /** All records of a batch that a mapping gave up on; `record` is the first of them. */
  batch?: MSKRecord[];
}

/** Bytes that are read of each listed entry: all of it but a long value. */
const HEAD_BYTES = 16 * 1024;
/** Longest entry that is read whole, bytes: the largest event, and the facts around it. */
const MAX_ENTRY_BYTES = 8 * 1024 * 1024;

/**
 * The entries that the filter selects, by key: records in `failed/`, and batches that mappings gave up on. A long value
 * is left out.
 * @param onOther receives the error of an object that is no failed record; left out, the error is thrown
 * @example
 * for await (const { key, reason } of listFailed(createReader(), { stage: 'detect' })) console.log(key, reason);
 */
export async function* listFailed(
  bucket: Bucket,
  filter: FailedFilter = {},
  onOther: (error: FailedEntryError) => void = (error) => {
    throw error;
  },
): AsyncGenerator<FailedEntry> {
  // The keys of lost batches do not contain the stage.
  for (const folder of [filter.stage ? `failed/${filter.stage}/` : 'failed/', `${LOST_BATCHES}/`]) {
    for await (const entry of readAhead(bucket, folder)) {
      if (entry instanceof FailedEntryError) onOther(entry);
      else if (isChosen(entry, filter)) yield entry;
    }
  }
}

/** Entries that are read at the same time. */
const READS = 16;

async function* readAhead(bucket: Bucket, folder: string): AsyncGenerator<FailedEntry | FailedEntryError> {
  // All keys at this time. A record that is put back may fail again: listed meanwhile, it would be put back for ever.
  using keys = new DiskMap<true>();
  for await (const key of bucket.list(folder)) keys.set(key, true);
  const read = (key: string) =>
    ifThere(readFailedHead(bucket, key)).catch((error) => {
      if (error instanceof FailedEntryError) return error;
      throw error;
    });
  const some: string[] = [];
  const readSome = async () =>
    (await Promise.all(some.splice(0).map(read))).filter((entry) => entry !== undefined);
  for (const [key] of keys) if (some.push(key) >= READS) yield* await readSome();
  yield* await readSome();
}

/** @throws FailedEntryError naming the key */
async function readBatch(bucket: Bucket, key: string, isWhole: boolean): Promise<FailedEntry> {
  const { records, ...batch } = await readLostBatch(bucket, key);
  const bytes = records.reduce((sum, { value }) => sum + Buffer.byteLength(value ?? '', 'base64'), 0);
  const kept = isWhole ? records : records.map((record) => ({ ...record, value: '' }));
  return { ...batch, record: kept[0] as MSKRecord, batch: kept, bytes };
}

/** The entry without a long value, or without those of a batch. @throws FailedEntryError naming the key */
export async function readFailedHead(bucket: Bucket, key: string): Promise<FailedEntry> {
  if (isLostBatch(key)) return readBatch(bucket, key, false);
  const { bytes, size } = await bucket.head(key, HEAD_BYTES);
  if (bytes.length >= size) return parseFailed(key, bytes.toString());
  const { text, left } = withoutValue(bytes.toString());
  const entry = parseFailed(key, text);
  // Nearly all of the rest is the value in base64.
  return { ...entry, bytes: Math.floor(((size - left) * 3) / 4) };
}

/** @throws FailedEntryError naming the key */
export async function readFailed(bucket: Bucket, key: string): Promise<FailedEntry> {
  if (isLostBatch(key)) return readBatch(bucket, key, true);
  const { bytes, size } = await bucket.head(key, MAX_ENTRY_BYTES);
  if (bytes.length < size) throw new FailedEntryError(`${key} has ${size} bytes, over ${MAX_ENTRY_BYTES}`);
  return parseFailed(key, bytes.toString());
}

/** Completes the JSON of an entry that was read in part: up to the record's value, or to the last whole header. */
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
    // Checked here, since every list of entries reads the stream.
    claimedStream(record);
    const bytes = entry.reference?.bytes ?? Buffer.byteLength(record.value ?? '', 'base64');
    return { ...entry, reason: String(entry.reason), key, bytes };
  } catch (cause) {
    throw new FailedEntryError(`${key} is not a failed record: ${(cause as Error).message}`, { cause });
  }
}

/** Broker errors that concern one topic or record: others can still be sent. */
const REFUSALS = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'INVALID_TOPIC_EXCEPTION',
  'TOPIC_AUTHORIZATION_FAILED',
  'INVALID_RECORD',
]);

/**
 * Sends the entry's record, or all records of its batch, to the topic they came from. Once Kafka has confirmed them, it
 * deletes the entry. After a crash in between, the records are in both places, never in none.
 * @param config names the topics of the pipeline: a record of any other topic is not put back
 * @throws FailedEntryError for an entry that holds only a reference, is gone, or is refused by the brokers
 */
export async function redrive(
  bucket: Bucket,
  producer: Pick<Producer, 'send'>,
  { key: entryKey }: Pick<FailedEntry, 'key'>,
  config: Config<TopicVariable>,
): Promise<void> {
  const entry = await ifThere(readFailed(bucket, entryKey));
  if (!entry) throw new FailedEntryError(`${entryKey} is not there any more`);
  if (entry.reference) {
    const { first_offset: first, last_offset: last } = entry.reference;
    const { topic, partition } = entry.record;
    throw new FailedEntryError(
      `${entryKey} is kept by reference: its records are offsets ${first} to ${last} of ${topic}-${partition}`,
    );
  }
  const byTopic = Map.groupBy(entry.batch ?? [entry.record], ({ topic }) => topic);
  const topics = topicsOf(config);
  const other = [...byTopic.keys()].find((topic) => !topics.includes(topic));
  const problem = `came from ${other}, which is not a topic of this pipeline: they are ${topics.join(', ')}`;
  if (other !== undefined) throw new FailedEntryError(`${entryKey} ${problem}`);
  for (const [topic, records] of byTopic) {
    const messages = records.map((record) => {
      const { key, value, headers } = fromLambdaRecord(record);
      // An old state: as the newest record of its stream, it would lead `detect` back to it.
      return { key, value, headers: withoutCheckpoint(headers as Record<string, Buffer>) };
    });
    await producer.send({ topic, messages }).catch((cause) => {
      const { type } = cause.cause ?? cause;
      if (!(cause instanceof TooLargeError || REFUSALS.has(type))) throw cause;
      throw new FailedEntryError(`${entryKey} can't be put back on ${topic}: ${cause.message}`, { cause });
    });
  }
  await bucket.remove([entryKey]);
}

/**
 * Deletes an entry.
 * @param entry as it was selected by the filter
 * @throws FailedEntryError for a batch that holds records of other streams, too
 */
export async function purge(bucket: Bucket, entry: FailedEntry, { stream }: FailedFilter): Promise<void> {
  const isOther = (record: MSKRecord) => claimedStream(record) !== stream;
  if (stream !== undefined && entry.batch?.some(isOther))
    throw new FailedEntryError(
      `${entry.key} also holds records of other streams: put it back, or delete it without naming a stream`,
    );
  await bucket.remove([entry.key]);
}

/** A batch is selected if any of its records matches. It is put back whole. */
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
    // An entry with a time that can't be read is not known to be later.
    !(to && time >= to)
  );
}
