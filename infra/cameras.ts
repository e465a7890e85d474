import { readFileSync } from 'node:fs';
import { isStreamId } from '@video-pipeline/frame';
import { parse } from 'yaml';

/** One entry of the ingest host's STREAMS; its other fields (rate, size, ...) are passed on as they are. */
export interface Camera {
  id: string;
  url: string;
  [setting: string]: unknown;
}

/** A list of cameras that can't be deployed. */
export class CamerasError extends Error {
  override readonly name = 'CamerasError';
}

/**
 * Reads the cameras to deploy: a YAML or JSON list of streams, as the ingest host takes it in STREAMS_FILE.
 * @throws CamerasError naming the entry that has no id, no URL, or an id that is there twice; never a URL, which may
 *   hold a password
 */
export function readCameras(path: string): Camera[] {
  const document: unknown = parse(readFileSync(path, 'utf8'));
  if (!Array.isArray(document)) throw new CamerasError(`${path} has no list of streams`);
  const seen = new Set<string>();
  for (const [index, item] of document.entries()) {
    const { id, url } = item ?? {};
    const where = `${path}: stream ${index + 1}`;
    if (typeof id !== 'string' || !isStreamId(id)) throw new CamerasError(`${where} has no valid id`);
    if (seen.has(id)) throw new CamerasError(`${where}: id '${id}' is there twice`);
    if (typeof url !== 'string' || !URL.canParse(url))
      throw new CamerasError(`${where} '${id}' has no valid url`);
    seen.add(id);
  }
  return document;
}

/** Cuts a list into parts of at most `size`. */
export function chunk<Item>(list: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, part) =>
    list.slice(part * size, (part + 1) * size),
  );
}
