import { readFileSync } from 'node:fs';
import { parseStreamList } from '@video-pipeline/scene';
import type { z } from 'zod';
import { streamEntrySchema } from '../ingest-host/src/streams.ts';

/** One entry of the ingest host's STREAMS, checked as the ingest host and detect will. */
export type Camera = z.output<typeof streamEntrySchema>;

/**
 * Reads the cameras to deploy, in the format of STREAMS_FILE. `${NAME}` in an address stands for a variable of the
 * deploying shell.
 * @throws StreamsError with line and field of every error
 */
export function readCameras(path: string): Camera[] {
  return parseStreamList(readFileSync(path, 'utf8'), streamEntrySchema, path);
}

/** Cuts a list into parts of at most `size`. */
export function chunk<Item>(list: readonly Item[], size: number): Item[][] {
  const parts = Math.ceil(list.length / size);
  return Array.from({ length: parts }, (_, part) => list.slice(part * size, (part + 1) * size));
}
