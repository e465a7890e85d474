import { positionOf } from '@video-pipeline/frame';
import type { Producer } from '@video-pipeline/kafka';
import { FailedEntryError, LOST_BATCHES, readFailedHead, redrive } from '@video-pipeline/recovery/failed';
import { isMissing } from '@video-pipeline/storage';
import type { FailedEntry, FailedPage } from './api.ts';
import type { ArchiveBucket } from './bucket.ts';

const PAGE = 20;
/** `failed/<stage>/<topic>-<partition>-<offset>`; topic names as Kafka allows them. */
const FAILED_KEY = /^failed\/[a-z][a-z-]*\/[A-Za-z0-9._-]+-\d+-\d+$/;
/** A batch that a mapping gave up on; what comes after is Lambda's own. */
const BATCH_KEY = /^aws\/lambda\/[A-Za-z0-9._/:-]+$/;

/** An entry that can't be put back, with why. */
export class RedriveError extends Error {
  override readonly name = 'RedriveError';
}

/** One page of `failed/`, in key order. */
export async function failedPage(bucket: ArchiveBucket, after: string | undefined): Promise<FailedPage> {
  // Lost batches come first: 'aws/' sorts before 'failed/', and one of them is many records.
  const lost =
    !after || after < 'failed/' ? await bucket.page(LOST_BATCHES, { after, limit: PAGE }) : { objects: [] };
  const rest = PAGE - lost.objects.length;
  const more = 'next' in lost ? lost.next : undefined;
  const page =
    more || rest === 0
      ? { objects: [], next: more ?? lost.objects.at(-1)?.key }
      : await bucket.page('failed/', { after: after && after > 'failed/' ? after : undefined, limit: rest });
  const objects = [...lost.objects, ...page.objects];
  const { next } = page;
  const entries = await Promise.all(objects.map(({ key }) => describe(bucket, key)));
  return { entries: entries.filter((entry) => entry !== undefined), ...(next ? { cursor: next } : {}) };
}

/** How many records each stage put into `failed/`, counted up to the first thousand of each. */
export async function failedCounts(
  bucket: ArchiveBucket,
  stages: readonly string[],
): Promise<Map<string, number>> {
  const counts = stages.map(async (stage) => {
    const { objects } = await bucket.page(`failed/${stage}/`);
    return [stage, objects.length] as const;
  });
  return new Map(await Promise.all(counts));
}

/**
 * Puts a failed record back on the topic it came from, and then takes it out of `failed/`.
 * @param topics those that a record may go to
 * @throws RedriveError when there is no such entry or it holds no record of these topics
 */
export async function putBack(
  key: string,
  bucket: ArchiveBucket,
  producer: Producer,
  topics: readonly string[],
): Promise<void> {
  if (!FAILED_KEY.test(key) && !BATCH_KEY.test(key)) throw new RedriveError('not a key of failed/');
  const entry = await asRedriveError(key, readFailedHead(bucket, key));
  if (!topics.includes(entry.record.topic)) {
    throw new RedriveError(`${key} came from ${entry.record.topic}, which is not a topic of this pipeline`);
  }
  await asRedriveError(key, redrive(bucket, producer, entry));
}

async function asRedriveError<Result>(key: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (isMissing(error)) throw new RedriveError(`${key} is not there any more`, { cause: error });
    if (error instanceof FailedEntryError) throw new RedriveError(error.message, { cause: error });
    throw error;
  }
}

/** @returns `undefined` for an entry that has gone since it was listed */
async function describe(bucket: ArchiveBucket, key: string): Promise<FailedEntry | undefined> {
  try {
    const { stage, reason, time, record, bytes } = await readFailedHead(bucket, key);
    return { key, stage, reason, time, position: positionOf(record), bytes };
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (!(error instanceof FailedEntryError)) throw error;
    return { key, stage: '', reason: error.message, time: '', position: key, bytes: 0 };
  }
}
