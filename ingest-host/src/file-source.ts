import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Picture, VideoSource } from './source.ts';

export interface FileSource {
  path: string;
  /** Play in real time, again and again, like a camera; else once, as fast as the pipeline takes it. */
  loop: boolean;
}

/** What a stream's URL says of a file: a path or `file:` URL, `?loop` after it; `undefined` for any other source. */
export function fileOf(url: string): FileSource | undefined {
  const loop = url.endsWith('?loop');
  const address = loop ? url.slice(0, -'?loop'.length) : url;
  if (address.startsWith('file:')) return { path: fileURLToPath(address), loop };
  return /^[a-z][a-z0-9+.-]+:/i.test(address) ? undefined : { path: address, loop };
}

/** The file's pictures at the pace of their times, round after round, on one rising clock. */
export async function* loopInRealTime(
  source: VideoSource,
  signal: AbortSignal,
  mayWant: (time: number) => boolean,
): AsyncGenerator<Picture, void> {
  const started = performance.now();
  let roundStart = 0;
  for (;;) {
    let first: number | undefined;
    let previous = 0;
    let end = 0;
    for await (const picture of source.pictures((time) => mayWant(roundStart + time - (first ?? time)))) {
      first ??= picture.time;
      const sinceFirst = picture.time - first;
      end = sinceFirst + (sinceFirst - previous);
      previous = sinceFirst;
      const time = roundStart + sinceFirst;
      const early = started + time * 1000 - performance.now();
      if (early > 1) await delay(early, undefined, { signal });
      yield { frame: picture.frame, time, decodeMs: picture.decodeMs };
    }
    // A file of one picture, or of none, must not spin.
    roundStart += Math.max(end, 0.04);
    await source.rewind();
  }
}
