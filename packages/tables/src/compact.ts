import { DAY_MS, HOUR_MS, hourFolder } from '@video-pipeline/frame';
import type { ListedObject } from '@video-pipeline/storage';
import { closedHours, readJson, type Unit } from './closed-hours.ts';
import { openDatabase } from './duckdb.ts';
import { byStored, insertLines, KINDS, loadsOf, portionsOf } from './lines.ts';
import { listNdjson } from './listings.ts';
import { type Merging, mergeDays, mergeHours, type TableBucket } from './merge.ts';
import { EVENTS, MIN_EXPIRE_DAYS, manifestKey, newestOf } from './schema.ts';

export interface Compacted {
  /** Objects that the tables hold now and didn't hold before. */
  objects: number;
  frames: number;
  /** Number of writes of an hour's rows of a part. */
  written: number;
  /** Objects that were removed, since the tables have held them long enough. */
  expired: number;
}

export interface CompactOptions {
  /** Epoch ms. */
  now?: number;
  /** Reads every hour again, not only those of the last two days. */
  all?: boolean;
  /** Only this part of the hours. */
  part?: string | undefined;
  /** NDJSON of detections that the tables hold is removed after this many days, at least 3. Left out: never. */
  expireDays?: number | undefined;
  /** A file takes further hours of its day while it is smaller than this, bytes. */
  fileBytes?: number;
  /** A file that is larger is not written again, bytes. */
  maxFileBytes?: number;
  /** Ends the run early. The next run continues. */
  signal?: AbortSignal;
}

/** ETags of the objects that the tables hold, by key. */
type Manifest = Record<string, string>;

/** An hour is closed this long after its end: by then, its last batch is stored. */
const SETTLE_MS = 120_000;
/** Redriven frames come late: each run reads the hours of this long again, milliseconds. */
const LOOK_BACK_MS = 48 * HOUR_MS;
/** Smaller files cost a search more requests; larger ones cost more to write again each hour. */
const FILE_BYTES = 16 * 1024 ** 2;
/** 25 times the hour of a part with a thousand cameras. Only a clock that stands still fills an hour like that. */
const MAX_FILE_BYTES = 512 * 1024 ** 2;
/** NDJSON that is merged at once, bytes. The database spills to the disk if its memory is too small. */
const MERGE_BYTES = 512 * 1024 ** 2;

/**
 * Merges the NDJSON and the events of closed hours into the tables. Each frame is there once: all rows of an hour are
 * in one file, which is written whole, and new rows replace those of the same frame. A day of events is one file, too.
 * The manifest is written last: after a run that was cut off, the next run writes the same rows again. Runs of the same
 * part may overlap: a file is only written over the version that was read, and the slower run merges again.
 * @throws the first error of an hour, once the others are done; the signal's reason, at once
 */
export async function compact(bucket: TableBucket, options: CompactOptions = {}): Promise<Compacted> {
  const { now = Date.now(), all = false, part, expireDays, signal } = options;
  const { fileBytes = FILE_BYTES, maxFileBytes = MAX_FILE_BYTES } = options;
  if (expireDays !== undefined && !(expireDays >= MIN_EXPIRE_DAYS))
    throw new RangeError(`NDJSON is kept for ${MIN_EXPIRE_DAYS} days at least, not ${expireDays}`);
  const done: Compacted = { objects: 0, frames: 0, written: 0, expired: 0 };
  const recent = hourFolder(Math.max(0, now - LOOK_BACK_MS));
  const storedBefore = expireDays === undefined ? 0 : Math.max(0, now - expireDays * DAY_MS);
  const kept = hourFolder(storedBefore);
  // Detections of older hours may expire. Events do not, and their hours are never gone.
  const isKept = (hour: string, of: string) => of === EVENTS || hour >= kept;
  const isFinal = (hour: string, of: string) => !all && hour < recent && isKept(hour, of);
  signal?.throwIfAborted();
  const look = { part, open: hourFolder(now - SETTLE_MS), recent, isFinal };
  const { units, note } = await closedHours(bucket, look);
  const failures = new Map<Unit, Error>();
  if (units.length === 0) {
    await note(new Set());
    return done;
  }
  const database = await openDatabase();
  try {
    for (const unit of units) {
      const merging = { bucket, database, part: unit.part, fileBytes, maxFileBytes, signal };
      try {
        await compactUnit(unit, merging, done, storedBefore);
      } catch (error) {
        signal?.throwIfAborted();
        const { message } = error as Error;
        failures.set(unit, new Error(`part ${unit.part} of ${unit.hour}: ${message}`, { cause: error }));
      }
    }
  } finally {
    await database.close();
  }
  await note(new Set(failures.keys()));
  const [failure] = failures.values();
  if (failure) throw failure;
  return done;
}

async function compactUnit(
  { hour, part, folders }: Unit,
  merging: Merging,
  done: Compacted,
  storedBefore: number,
): Promise<void> {
  const { bucket, signal } = merging;
  signal?.throwIfAborted();
  const key = manifestKey(hour, part);
  const held = await readJson<Manifest>(bucket, key);
  const listed = await listNdjson(bucket, folders, signal);
  const fresh = listed.filter((object) => held[object.key] !== object.etag).sort(byStored);
  for (const objects of portionsOf(fresh, MERGE_BYTES)) {
    await load(merging, objects);
    if (part === EVENTS) await mergeDays(merging);
    else done.frames += await mergeHours(merging);
    const noted = Object.fromEntries(objects.map((object) => [object.key, object.etag]));
    // Another run may have added other objects meanwhile.
    const merge = (before = '{}') => JSON.stringify({ ...JSON.parse(before), ...noted });
    await bucket.merge({ key, contentType: 'application/json', exists: true, merge });
    done.written += 1;
    done.objects += objects.length;
  }
  if (part === EVENTS) return;
  const old = listed.filter((object) => held[object.key] === object.etag && object.stored < storedBefore);
  await bucket.remove(old.map((object) => object.key));
  done.expired += old.length;
}

/** Reads the objects into `fresh`, each frame and each event once. */
async function load(
  { bucket, database, part, signal }: Merging,
  objects: readonly ListedObject[],
): Promise<void> {
  const kind = part === EVENTS ? 'events' : 'lines';
  await database.run(`CREATE OR REPLACE TEMP TABLE loaded (${KINDS[kind].columns})`);
  for (const some of loadsOf(objects))
    await insertLines(bucket, database, { table: 'loaded', kind, objects: some }, signal);
  const rows = kind === 'events' ? 'SELECT DISTINCT ON (event_id) * FROM loaded' : newestOf('loaded');
  await database.run(`CREATE OR REPLACE TEMP TABLE fresh AS ${rows}`, signal);
  await database.run('DROP TABLE loaded');
}
