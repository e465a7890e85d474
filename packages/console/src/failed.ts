import { fromLambdaRecord, positionOf } from '@video-pipeline/frame';
import type { FailedRecord } from '@video-pipeline/storage';
import type { Message } from 'kafkajs';
import type { FailedEntry, FailedPage } from './api.ts';
import type { Bucket } from './bucket.ts';

const PAGE = 20;
/** `failed/<stage>/<topic>-<partition>-<offset>`; topic names as Kafka allows them. */
const FAILED_KEY = /^failed\/[a-z][a-z-]*\/[A-Za-z0-9._-]+-\d+-\d+$/;

/** An entry that can't be put back, with why. */
export class RedriveError extends Error {
  override readonly name = 'RedriveError';
}

/** One page of `failed/`, in key order. */
export async function failedPage(bucket: Bucket, after: string | undefined): Promise<FailedPage> {
  const { objects, next } = await bucket.page('failed/', { after, limit: PAGE });
  const entries = await Promise.all(
    objects.map(async ({ key }) => {
      const body = await bucket.get(key);
      return body && describe(key, body);
    }),
  );
  return { entries: entries.filter((entry) => entry !== undefined), ...(next ? { cursor: next } : {}) };
}

/** How many records each stage put into `failed/`, counted up to the first thousand of each. */
export async function failedCounts<Stage extends string>(
  bucket: Bucket,
  stages: readonly Stage[],
): Promise<Map<Stage, number>> {
  const counts = stages.map(async (stage): Promise<[Stage, number]> => {
    const { objects } = await bucket.page(`failed/${stage}/`);
    return [stage, objects.length];
  });
  return new Map(await Promise.all(counts));
}

/**
 * Puts a failed record back on the topic it came from, unchanged, and then takes it out of `failed/`.
 * @param options.topics those that a record may go to
 * @throws RedriveError when there is no such entry or it holds no record of these topics
 */
export async function redrive(
  key: string,
  options: {
    bucket: Bucket;
    topics: readonly string[];
    publish: (topic: string, message: Message) => Promise<void>;
  },
): Promise<void> {
  if (!FAILED_KEY.test(key)) throw new RedriveError('not a key of failed/');
  const body = await options.bucket.get(key);
  if (!body) throw new RedriveError(`${key} is not there any more`);
  const { record } = parse(key, body);
  if (!options.topics.includes(record.topic)) {
    throw new RedriveError(`${key} came from ${record.topic}, which is not a topic of this pipeline`);
  }
  const { key: recordKey, value, headers } = fromLambdaRecord(record);
  const message: Message = { key: recordKey, value, headers: { ...headers } };
  await options.publish(record.topic, message);
  await options.bucket.remove(key);
}

function describe(key: string, body: Buffer): FailedEntry {
  try {
    const { stage, reason, time, record } = parse(key, body);
    const bytes = Buffer.byteLength(record.value ?? '', 'base64');
    return { key, stage, reason, time, position: positionOf(record), bytes };
  } catch (error) {
    return { key, stage: '', reason: (error as Error).message, time: '', position: '', bytes: body.length };
  }
}

function parse(key: string, body: Buffer): FailedRecord {
  let failed: Partial<FailedRecord> | null;
  try {
    failed = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new RedriveError(`${key} is not JSON`, { cause });
  }
  if (typeof failed?.record?.topic !== 'string' || !Array.isArray(failed.record.headers)) {
    throw new RedriveError(`${key} holds no record`);
  }
  return failed as FailedRecord;
}
