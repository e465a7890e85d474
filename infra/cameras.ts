import { readFileSync } from 'node:fs';
import { isStreamId } from '@video-pipeline/frame';
import { parseStreamList, sceneConfigSchema } from '@video-pipeline/scene';
import { z } from 'zod';

/** One entry of the ingest host's STREAMS; the fields beside these are passed on as they are. */
const camera = z.looseObject({
  id: z.string().refine(isStreamId, 'must be a stream id'),
  url: z.string().min(1),
  // What is wrong with it is said before anything is deployed.
  scene: sceneConfigSchema.optional(),
});
export type Camera = z.output<typeof camera>;

/**
 * Reads the cameras to deploy, a list as the ingest host takes it in STREAMS_FILE, and checks their scenes.
 * @throws StreamsError naming line and field of everything that is wrong
 */
export function readCameras(path: string): Camera[] {
  return parseStreamList(readFileSync(path, 'utf8'), camera, path);
}

/** Cuts a list into parts of at most `size`. */
export function chunk<Item>(list: readonly Item[], size: number): Item[][] {
  const parts = Math.ceil(list.length / size);
  return Array.from({ length: parts }, (_, part) => list.slice(part * size, (part + 1) * size));
}
