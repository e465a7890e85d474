import type { Config } from '@video-pipeline/config';
import { claimedStream, LOST_BATCHES, positionOf } from '@video-pipeline/frame';
import type { Producer } from '@video-pipeline/kafka';
import {
  type FailedEntry as Entry,
  FailedEntryError,
  type FailedFilter,
  isChosen,
  readFailedHead,
  redrive,
} from '@video-pipeline/recovery/failed';
import type { TopicVariable } from '@video-pipeline/stages';
import { type Bucket, ifThere, objectsOf } from '@video-pipeline/storage';
import type { FailedBulkResult, FailedEntry, FailedPage } from './api.ts';

const PAGE = 20;
/** `failed/<stage>/<topic>-<partition>-<offset>`, with any valid topic name. */
const FAILED_KEY = /^failed\/[a-z][a-z-]*\/[A-Za-z0-9._-]+-\d+-\d+$/;
/** A batch that an event-source mapping gave up on. Lambda makes the rest of the key. */
const BATCH_KEY = /^aws\/lambda\/[A-Za-z0-9._/:-]+$/;

/** Most entries that are read for one page: a filter may select only a few of many. */
const LOOKED_AT = 200;
/** Most records that one request puts back or deletes, and most entries that it reads. */
const BULK = 500;
const BULK_LOOKED_AT = 2_000;
const SHOWN_PROBLEMS = 5;

/** Filter of `failed/`. @throws HttpError for an unknown stage, stream or code */
export type FailedChoice = Pick<FailedFilter, 'stage' | 'stream' | 'code'>;

/** One page of the selected entries, in key order. */
export async function failedPage(
  bucket: Bucket,
  choice: FailedChoice,
  after: string | undefined,
): Promise<FailedPage> {
  const keys = keysFrom(bucket, choice.stage, after);
  const entries: FailedEntry[] = [];
  for (let looked = 0; looked < LOOKED_AT && entries.length < PAGE; ) {
    const some = await take(keys, PAGE - entries.length);
    if (some.length === 0) return { entries };
    looked += some.length;
    const found = await Promise.all(some.map((key) => describe(bucket, key, choice)));
    entries.push(...found.filter((entry) => entry !== undefined));
    after = some.at(-1);
  }
  const isMore = (await keys.next()).done !== true;
  return { entries, ...(isMore && after ? { cursor: after } : {}) };
}

// Lost batches come first, since 'aws/' sorts before 'failed/'. One of them holds many records.
async function* keysFrom(
  bucket: Bucket,
  stage: string | undefined,
  after: string | undefined,
): AsyncGenerator<string> {
  for (const folder of [`${LOST_BATCHES}/`, stage ? `failed/${stage}/` : 'failed/']) {
    const isWithin = after?.startsWith(folder) === true;
    if (after && !isWithin && after > folder) continue;
    for await (const { key } of objectsOf(bucket, folder, isWithin ? after : undefined)) yield key;
  }
}

async function take(keys: AsyncGenerator<string>, limit: number): Promise<string[]> {
  const taken: string[] = [];
  while (taken.length < limit) {
    const { value, done } = await keys.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}

/**
 * Acts on the selected entries, in key order. Their number is limited, and so is the number of entries that are read.
 * Records that fail meanwhile are left: one that always fails would be put back for ever.
 * @param signal ends it between two entries @param act left out: they are only counted
 * @param before `cursor` and `until` of the answer before
 */
export async function bulk(
  bucket: Bucket,
  choice: FailedChoice,
  signal: AbortSignal,
  act?: (entry: Entry) => Promise<void>,
  before: { cursor?: string | undefined; until?: number | undefined } = {},
): Promise<FailedBulkResult> {
  const until = Math.min(before.until ?? Number.POSITIVE_INFINITY, Date.now());
  const result: FailedBulkResult = { count: 0, until, problems: [] };
  let looked = 0;
  let { cursor } = before;
  for await (const key of keysFrom(bucket, choice.stage, cursor)) {
    signal.throwIfAborted();
    const isEnough = result.count === BULK || looked === BULK_LOOKED_AT;
    if (cursor && isEnough) return { ...result, cursor };
    looked += 1;
    cursor = key;
    try {
      const entry = await ifThere(readFailedHead(bucket, key));
      if (!entry || !isChosen(entry, { ...choice, to: new Date(until + 1) })) continue;
      await act?.(entry);
      result.count += 1;
    } catch (error) {
      if (!(error instanceof FailedEntryError)) throw error;
      if (result.problems.length < SHOWN_PROBLEMS) result.problems.push(error.message);
    }
  }
  return result;
}

/** Number of records that each stage put into `failed/`, counted up to a thousand each. */
export async function failedCounts(bucket: Bucket, stages: readonly string[]): Promise<Map<string, number>> {
  const counts = stages.map(async (stage) => {
    const { objects } = await bucket.page(`failed/${stage}/`);
    return [stage, objects.length] as const;
  });
  return new Map(await Promise.all(counts));
}

/**
 * Puts a failed record back on its topic, and then deletes it from `failed/`.
 * @throws FailedEntryError when there is no such entry, or it holds no record of the pipeline's topics
 */
export async function putBack(
  key: string,
  bucket: Bucket,
  producer: Producer,
  config: Config<TopicVariable>,
): Promise<void> {
  if (!FAILED_KEY.test(key) && !BATCH_KEY.test(key)) throw new FailedEntryError('not a key of failed/');
  await redrive(bucket, producer, { key }, config);
}

/** @returns `undefined` for an entry that is not selected, or is gone since it was listed */
async function describe(bucket: Bucket, key: string, choice: FailedChoice): Promise<FailedEntry | undefined> {
  try {
    const entry = await ifThere(readFailedHead(bucket, key));
    if (!entry || !isChosen(entry, choice)) return undefined;
    const { stage, code, reason, time, record, bytes } = entry;
    const from = { stream: claimedStream(record), position: positionOf(record) };
    return { key, stage, reason, time, bytes, ...from, ...(code ? { code } : {}) };
  } catch (error) {
    if (!(error instanceof FailedEntryError)) throw error;
    if (Object.values(choice).some(Boolean)) return undefined;
    return { key, stage: '', stream: 'unknown', reason: error.message, time: '', position: key, bytes: 0 };
  }
}
