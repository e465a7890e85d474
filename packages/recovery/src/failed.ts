import { fromLambdaRecord, type MSKRecord } from '@video-pipeline/frame';
import type { Producer } from '@video-pipeline/kafka';
import type { FailedRecord } from '@video-pipeline/storage';
import type { Bucket } from './bucket.ts';

/** What to choose from `failed/`; left out, everything. */
export interface FailedFilter {
  stage?: string | undefined;
  stream?: string | undefined;
  /** Text that the reason holds. */
  reason?: string | undefined;
  /** Failed at this time or later. */
  from?: Date | undefined;
  /** Failed before this time. */
  to?: Date | undefined;
}

export interface FailedEntry extends FailedRecord {
  key: string;
}

/** An object under `failed/` that is not what quarantine writes. */
export class FailedEntryError extends Error {
  override readonly name = 'FailedEntryError';
}

/** Everything in `failed/` that the filter chooses, by key. */
export async function* listFailed(bucket: Bucket, filter: FailedFilter = {}): AsyncGenerator<FailedEntry> {
  for await (const key of bucket.list(filter.stage ? `failed/${filter.stage}/` : 'failed/')) {
    const entry = await readFailed(bucket, key);
    if (isChosen(entry, filter)) yield entry;
  }
}

/** @throws FailedEntryError naming the key */
export async function readFailed(bucket: Bucket, key: string): Promise<FailedEntry> {
  return parseFailed(key, (await bucket.read(key)).toString());
}

/** @throws FailedEntryError naming the key */
export function parseFailed(key: string, text: string): FailedEntry {
  try {
    const entry: FailedRecord = JSON.parse(text);
    const { topic, headers } = entry.record;
    if (typeof topic !== 'string' || !Array.isArray(headers)) throw new Error('it holds no record');
    // Whoever lists entries reads these.
    streamOf(entry.record);
    return { ...entry, reason: String(entry.reason), key };
  } catch (cause) {
    throw new FailedEntryError(`${key} is not a failed record: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Puts each record back on the topic it came from, as it was; then, once Kafka has it, deletes the entry. A crash in
 * between leaves the record in both places, never in none.
 */
export async function redrive(bucket: Bucket, producer: Producer, entry: FailedEntry): Promise<void> {
  const { key, value, headers } = fromLambdaRecord(entry.record);
  const message = { key: key?.toString() ?? null, value, headers: headers as Record<string, Buffer> };
  await producer.send({ topic: entry.record.topic, messages: [message] });
  await bucket.remove([entry.key]);
}

function isChosen(entry: FailedEntry, { stream, reason, from, to }: FailedFilter): boolean {
  const time = new Date(entry.time);
  return (
    (stream === undefined || streamOf(entry.record) === stream) &&
    (reason === undefined || entry.reason.includes(reason)) &&
    (from === undefined || time >= from) &&
    (to === undefined || time < to)
  );
}

/** The stream a failed record claims to be of; its headers may be what is wrong with it. */
export function streamOf(record: MSKRecord): string {
  const { key, headers } = fromLambdaRecord(record);
  return (headers?.stream_id ?? key ?? '').toString();
}
