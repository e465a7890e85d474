import { DAY_MS, HOUR_MS, hourFolder, MAX_TIME } from '@video-pipeline/frame';
import {
  cached,
  type FolderReader,
  inParallel,
  type ListedObject,
  objectsOf,
  objectsOfHours,
  type PageOptions,
  type Reader,
} from '@video-pipeline/storage';
import { dateFolder, EVENTS, type FrameTable, HOURS, manifestKey, partOf } from './schema.ts';

/** Epoch ms, `from` included, `to` not. */
export interface Range {
  from: number;
  to: number;
}

/** A folder of dates with objects, and the part to which they belong. */
export interface Root {
  folder: string;
  part: string;
}

export const EVENT_ROOT: Root = { folder: 'events/', part: EVENTS };

export function rootOf(streamId: string): Root {
  return { folder: `detections/${streamId}/`, part: partOf(streamId) };
}

export interface Folder {
  prefix: string;
  /** `date=.../hour=..` */
  hour: string;
}

/** Most listings that run at the same time. */
export const LISTINGS = 16;
/** Most listings that are cached, each of up to a thousand names. */
const MAX_LISTINGS = 200;
/** Up to this many hours or days are listed without asking first which of them exist. */
const FEW = 3;

/**
 * How long listings are kept, milliseconds. The tables' own files are listed by each query: a listing older than that
 * of the manifests may lack hours that these name.
 */
export const KEPT = {
  /** An hour that has come into the tables meanwhile is read from its NDJSON. */
  manifestsMs: 60_000,
  /** A search finds a frame five seconds after it was stored, and the first frame of a new stream, too. */
  streamsMs: 4_000,
  /** Listings of hours that are not in the tables. A page of the console sends several queries at once. */
  openMs: 500,
};

/** The same bucket with its listings cached for `ms` milliseconds. */
export function cachedListings(bucket: FolderReader, ms: number): FolderReader {
  const list = (name: string) => bucket.page(...(JSON.parse(name) as [string, PageOptions]));
  const pages = cached(list, ms, MAX_LISTINGS);
  return {
    folders: cached((prefix) => bucket.folders(prefix), ms, MAX_LISTINGS),
    page: (prefix, options = {}) => pages(JSON.stringify([prefix, options])),
    read: (key, range) => bucket.read(key, range),
    save: (key, path) => bucket.save(key, path),
  };
}

/** Hours and parts that the tables hold, by the keys of their manifests. */
export async function listCompacted(bucket: Pick<Reader, 'page'>, range: Range): Promise<Set<string>> {
  const manifests = await Array.fromAsync(objectsOfHours(bucket, 'tables/manifests/', range));
  return new Set(manifests.map(({ key }) => key));
}

/** The files of a table that {@link spansOf} chooses from. */
export function listFiles(
  bucket: Pick<Reader, 'page'>,
  table: FrameTable,
  { from, to }: Range,
): Promise<ListedObject[]> {
  const day = Math.max(0, from - (from % DAY_MS));
  return Array.fromAsync(objectsOfHours(bucket, `tables/${table}/`, { from: day, to }));
}

/** A file of the tables, and the time range of its rows. */
export interface Span extends Range {
  object: ListedObject;
}

/**
 * The files for the range, those that end last first. A file holds the hours of its day from its own hour on, until the
 * next file of its part begins.
 */
export function spansOf(objects: readonly ListedObject[], { from, to }: Range): Span[] {
  const next = new Map<string, number>();
  const spans = objects.toReversed().map((object): Span => {
    const [, , date = '', hour, part = ''] = object.key.split('/');
    const begin = startOf(`${date}/${hour}`);
    const until = next.get(date + part) ?? begin - (begin % DAY_MS) + DAY_MS;
    next.set(date + part, begin);
    return { object, from: begin, to: until };
  });
  return spans.filter((span) => span.from < to && span.to > from).sort((a, b) => b.to - a.to);
}

/** Folders of objects not in the tables yet, the newest first. */
export async function openFolders(
  bucket: Pick<FolderReader, 'folders'>,
  roots: readonly Root[],
  held: ReadonlySet<string>,
  { from, to }: Range,
  signal: AbortSignal,
): Promise<Folder[]> {
  const range = { from: Math.max(0, from), to };
  const [first, last] = [hourFolder(range.from), lastHourOf(range)];
  const byPart = Map.groupBy(roots, ({ part }) => part);
  const likely = new Map([...byPart.keys()].map((part) => [part, likelyHours(held, part, range)]));
  const lists = await inParallel(roots, LISTINGS, async ({ folder, part }) => {
    signal.throwIfAborted();
    const hours =
      likely.get(part) ?? (await hoursThere(bucket, folder, range, (date) => isOpen(held, date, part, last)));
    return hours
      .filter((hour) => hour >= first && hour <= last && !held.has(manifestKey(hour, part)))
      .map((hour) => ({ prefix: `${folder}${hour}/`, hour }));
  });
  return lists.flat().sort((a, b) => (a.hour < b.hour ? 1 : -1));
}

/** The hours of the range if few of them are open: asking which of them exist takes longer than listing them. */
function likelyHours(held: ReadonlySet<string>, part: string, range: Range): string[] | undefined {
  const ofPart = [...held].filter((key) => key.endsWith(`/part-${part}.json`));
  return stepsOf(range, HOUR_MS, ofPart.length + FEW)?.map(hourFolder);
}

/** Hours of the range that exist, on open dates. */
async function hoursThere(
  bucket: Pick<FolderReader, 'folders'>,
  folder: string,
  range: Range,
  isOpenDate: (date: string) => boolean,
): Promise<string[]> {
  const dates = stepsOf(range, DAY_MS, FEW)?.map(dateFolder) ?? (await bucket.folders(folder));
  const [first, last] = [dateFolder(range.from), lastHourOf(range)];
  const open = dates.filter((date) => date >= first && date <= last && isOpenDate(date));
  return hoursIn(bucket, folder, open);
}

/** Hours of these dates that exist in a folder of dates. Folders of others are left out. */
export async function hoursIn(
  bucket: Pick<FolderReader, 'folders'>,
  folder: string,
  dates: readonly string[],
): Promise<string[]> {
  const hours = dates.map(async (date) => {
    const names = await bucket.folders(`${folder}${date}/`);
    return names.filter((name) => HOURS.includes(name)).map((name) => `${date}/${name}`);
  });
  return (await Promise.all(hours)).flat();
}

/** The NDJSON and the events in these folders. */
export async function listNdjson(
  bucket: Pick<Reader, 'page'>,
  folders: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ListedObject[]> {
  const lists = await inParallel(folders, LISTINGS, (folder) => {
    signal?.throwIfAborted();
    return Array.fromAsync(objectsOf(bucket, folder));
  });
  return lists.flat().filter(({ key }) => key.endsWith('json'));
}

/** Whether the tables lack an hour of the date. The last date of a range counts as open. */
function isOpen(held: ReadonlySet<string>, date: string, part: string, last: string): boolean {
  if (last.startsWith(date)) return true;
  return HOURS.some((hour) => !held.has(manifestKey(`${date}/${hour}`, part)));
}

/** Begins of the hours or days of a range, epoch ms; `undefined` if there are more than `limit`. */
function stepsOf({ from, to }: Range, stepMs: number, limit: number): number[] | undefined {
  const first = Math.floor(from / stepMs);
  const count = Math.floor(lastOf({ to }) / stepMs) - first + 1;
  if (count > limit) return undefined;
  return Array.from({ length: Math.max(0, count) }, (_, index) => (first + index) * stepMs);
}

function lastOf({ to }: Pick<Range, 'to'>): number {
  return Math.min(Math.max(0, to - 1), MAX_TIME);
}

/** @returns `date=.../hour=..` of the last time before `to` */
function lastHourOf(range: Pick<Range, 'to'>): string {
  return hourFolder(lastOf(range));
}

/** @param hour `date=.../hour=..` @returns epoch ms */
export function startOf(hour: string): number {
  const [, date, name] = /^date=(.+)\/hour=(\d\d)$/.exec(hour) ?? [];
  return Date.parse(`${date}T${name}:00:00Z`);
}

/** Work that is awaited later. If it never is, its error is dropped. */
export function begun<Value>(work: Promise<Value>): Promise<Value> {
  work.catch(() => {});
  return work;
}
