import type { Config } from '@video-pipeline/config';
import { annotatedSince, capturedAtOf, MAX_TIME } from '@video-pipeline/frame';
import { isMissing, objectsOf, type Reader } from './reader.ts';

/** A stretch of a stream: capture times in epoch milliseconds, both included. */
export interface Stretch {
  streamId: string;
  from: number;
  to: number;
}

/** Variables that say what belongs to a clip. */
export const CLIP_VARIABLES = ['CLIP_BEFORE_SECONDS', 'CLIP_AFTER_SECONDS'] as const;
export type ClipSettings = Config<(typeof CLIP_VARIABLES)[number]>;

/** What a clip shows of a stream. @param at when it happened, epoch milliseconds */
export function stretchAround(streamId: string, at: number, settings: ClipSettings): Stretch {
  return {
    streamId,
    from: Math.max(0, at - settings.CLIP_BEFORE_SECONDS * 1000),
    to: Math.min(MAX_TIME, at + settings.CLIP_AFTER_SECONDS * 1000),
  };
}

/** An annotated picture as it is stored. */
export interface StoredPicture {
  /** Epoch milliseconds. */
  capturedAt: number;
  jpeg: Buffer;
}

/** Reads in work at once. */
const IN_WORK = 8;

/**
 * The annotated pictures of a stretch as far as they are stored, the oldest first.
 * @param prefix first folder of annotated frames
 * @param most of more than so many pictures, so many are taken evenly
 */
export async function picturesOf(
  reader: Reader,
  prefix: string,
  stretch: Stretch,
  most: number,
): Promise<StoredPicture[]> {
  const keys = thinned(await keysOf(reader, prefix, stretch), most);
  const pictures: StoredPicture[] = [];
  for (let at = 0; at < keys.length; at += IN_WORK) {
    const some = keys.slice(at, at + IN_WORK);
    pictures.push(...(await Promise.all(some.map((key) => readStored(reader, key)))).flat());
  }
  return pictures;
}

/** Whether a picture is stored that was captured at `time` or later: then those before it are on their way at least. */
export async function hasPictureSince(
  reader: Reader,
  prefix: string,
  streamId: string,
  time: number,
): Promise<boolean> {
  const after = annotatedSince(prefix, streamId, time);
  const { objects } = await reader.page(`${prefix}/${streamId}/`, { after, limit: 1 });
  return objects.some(({ key }) => capturedAtOf(key) >= time);
}

/** Keys sort by time, so that a listing begins where the stretch does and ends with it. */
async function keysOf(reader: Reader, prefix: string, { streamId, from, to }: Stretch): Promise<string[]> {
  const keys: string[] = [];
  const first = annotatedSince(prefix, streamId, from);
  for await (const { key } of objectsOf(reader, `${prefix}/${streamId}/`, first)) {
    const capturedAt = capturedAtOf(key);
    if (capturedAt > to) break;
    if (capturedAt >= from) keys.push(key);
  }
  return keys;
}

function thinned(keys: readonly string[], most: number): string[] {
  const step = Math.max(1, keys.length / most);
  return Array.from({ length: Math.min(keys.length, most) }, (_, i) => keys[Math.floor(i * step)] ?? '');
}

/** @returns nothing for a picture that has expired since it was listed */
async function readStored(reader: Reader, key: string): Promise<StoredPicture[]> {
  try {
    return [{ capturedAt: capturedAtOf(key), jpeg: await reader.read(key) }];
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
