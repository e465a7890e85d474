import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { optionsOf } from './ffmpeg-options.ts';
import { FFmpegSource } from './ffmpeg-source.ts';
import { timeOfFileName } from './file-name-time.ts';
import { liveAs } from './paced.ts';
import type { MayWant, Opener, Picture, Source } from './source.ts';
import { SourceError } from './source-error.ts';

interface FileAddress {
  path: string;
  /** True: played in real time, again and again, like a camera. False: read once, as fast as the pipeline allows. */
  loop: boolean;
}

/** Parses a path or `file:` URL, optionally with `?loop` at its end; `undefined` for any other source. */
export function fileOf(url: string): FileAddress | undefined {
  const loop = url.endsWith('?loop');
  const address = loop ? url.slice(0, -'?loop'.length) : url;
  if (address.startsWith('file:')) return { path: pathOf(address), loop };
  return /^[a-z][a-z0-9+.-]+:/i.test(address) ? undefined : { path: address, loop };
}

/** @throws SourceError */
function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new SourceError('open: not a URL of a file: it has three slashes, file:///folder/name', true, true);
  }
}

export const openFile: Opener = async (url, { track, damage, hwaccel, ffmpeg }, signal) => {
  const { path, loop } = fileOf(url) ?? { path: url, loop: false };
  const known = { recordedAt: timeOfFileName(path), track, damage, hwaccel };
  const from = { url: path, options: optionsOf(ffmpeg), fromNetwork: false, ...known };
  const source = await FFmpegSource.open(from, signal).catch((error: Error) => {
    // A missing file may appear later. An existing file that is no video remains an error.
    throw existsSync(path) && !signal?.aborted ? new SourceError(error.message, true, true) : error;
  });
  return loop ? looped(source, signal) : source;
};

/** A file that is played in real time, again and again, with presentation times that always rise. */
function looped(file: FFmpegSource, signal: AbortSignal | undefined): Source {
  async function* pictures(mayWant: MayWant = () => true): AsyncGenerator<Picture, void> {
    const started = performance.now();
    let roundStart = 0;
    for (;;) {
      let first: number | undefined;
      let previous = 0;
      let end = 0;
      const shifted: MayWant = (time, packet) => mayWant(roundStart + time - (first ?? time), packet);
      for await (const picture of file.pictures(shifted)) {
        first ??= picture.time;
        const sinceFirst = picture.time - first;
        end = sinceFirst + (sinceFirst - previous);
        previous = sinceFirst;
        const time = roundStart + sinceFirst;
        const early = started + time * 1000 - performance.now();
        if (early > 1) await delay(early, undefined, { signal });
        yield { frame: picture.frame, time, decodeMs: picture.decodeMs };
      }
      // A file without a picture can't be played again.
      if (first === undefined) return;
      // A file with a single picture must not loop without a wait.
      roundStart += Math.max(end, 0.04);
      await file.rewind();
    }
  }
  return liveAs(file, pictures);
}
