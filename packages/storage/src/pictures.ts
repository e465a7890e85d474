import type { Config } from '@video-pipeline/config';
import { archiveSpanOf, capturedAtOf, MAX_TIME } from '@video-pipeline/frame';
import { keyOf, objectsAround, picturesIn } from './archive.ts';
import { inParallel } from './in-parallel.ts';
import { ifThere, type Part, type Reader } from './reader.ts';

/** A time range of a stream: capture times in epoch milliseconds, both included. */
export interface StreamRange {
  streamId: string;
  from: number;
  to: number;
}

/** Variables that say how much time a clip shows. */
export const CLIP_VARIABLES = ['CLIP_BEFORE_SECONDS', 'CLIP_AFTER_SECONDS'] as const;
export type ClipSettings = Config<(typeof CLIP_VARIABLES)[number]>;

/** The time range that a clip shows. @param at when the event happened, epoch milliseconds */
export function rangeAround(streamId: string, at: number, settings: ClipSettings): StreamRange {
  return {
    streamId,
    from: Math.max(0, at - settings.CLIP_BEFORE_SECONDS * 1000),
    to: Math.min(MAX_TIME, at + settings.CLIP_AFTER_SECONDS * 1000),
  };
}

export interface StoredPicture {
  /** Epoch milliseconds. */
  capturedAt: number;
  jpeg: Buffer;
}

const READ_CONCURRENCY = 8;

/**
 * The annotated pictures of a time range that are stored, the oldest first.
 * @param prefix top folder of annotated frames
 * @param limit most pictures; of more, this many are chosen at even distances
 */
export async function picturesOf(
  reader: Reader,
  prefix: string,
  range: StreamRange,
  limit: number,
): Promise<StoredPicture[]> {
  const locations = evenSample(await locationsOf(reader, prefix, range), limit);
  return (await inParallel(locations, READ_CONCURRENCY, (location) => readStored(reader, location))).flat();
}

/** Whether a picture captured at `time` or later is stored. If so, all earlier ones are stored or about to be. */
export async function hasPictureSince(
  reader: Reader,
  prefix: string,
  streamId: string,
  time: number,
): Promise<boolean> {
  return !(await objectsAround(reader, `${prefix}/${streamId}/`, time, MAX_TIME).next()).done;
}

/** Position of a picture: an object of its own, or a part of one. */
interface Location {
  key: string;
  capturedAt: number;
  part?: Part;
}

/** Keys sort by time, so only the keys of the range are listed. */
async function locationsOf(reader: Reader, prefix: string, range: StreamRange): Promise<Location[]> {
  const { streamId, from, to } = range;
  const folder = `${prefix}/${streamId}/`;
  const locations = new Map<string, Location>();
  for await (const { key } of objectsAround(reader, folder, from, to)) {
    const pictures = archiveSpanOf(key) ? await picturesIn(reader, key) : [];
    for (const picture of pictures) {
      locations.set(keyOf(picture), { key, capturedAt: picture.capturedAt, part: picture });
    }
    if (pictures.length === 0) locations.set(key, { key, capturedAt: capturedAtOf(key) });
  }
  return [...locations.values()]
    .filter(({ capturedAt }) => capturedAt >= from && capturedAt <= to)
    .sort((a, b) => a.capturedAt - b.capturedAt);
}

/** @returns all items, or `limit` of them at even distances */
export function evenSample<Item>(items: readonly Item[], limit: number): Item[] {
  const step = Math.max(1, items.length / limit);
  return items.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step));
}

/** @returns nothing for a picture that has expired since it was listed */
async function readStored(reader: Reader, { key, capturedAt, part }: Location): Promise<StoredPicture[]> {
  const jpeg = await ifThere(reader.read(key, part));
  return jpeg ? [{ capturedAt, jpeg }] : [];
}
