import { setTimeout as delay } from 'node:timers/promises';
import type { MayWant, Picture, Source } from './source.ts';

/** A picture that is later was delayed by the network: the pace restarts with its arrival; milliseconds. */
const MAX_LATE_MS = 2_000;
/** A picture that would have to wait longer has another clock: the pace restarts; milliseconds. */
const MAX_EARLY_MS = 60_000;
/** Players begin three segments before the end of a list. */
const MAX_DELAY_MS = 300_000;

/**
 * A live source whose pictures arrive in groups, as in HLS segments. It returns them at the pace of their presentation
 * times, so that their arrival is evenly spaced. Pictures that have not been returned are not decoded yet.
 */
export function paced(source: Source, signal: AbortSignal | undefined): Source {
  async function* pictures(mayWant?: MayWant): AsyncGenerator<Picture, void> {
    // When the presentation time 0 is due.
    let start: number | undefined;
    for await (const picture of source.pictures(mayWant)) {
      const time = picture.time * 1000;
      start ??= performance.now() - time;
      const early = start + time - performance.now();
      if (early < -MAX_LATE_MS || early > MAX_EARLY_MS) start = performance.now() - time;
      else if (early > 1) await delay(early, undefined, { signal });
      yield picture;
    }
  }
  return liveAs(source, pictures, MAX_DELAY_MS);
}

/** A live source with these pictures; all else is that of `source`. */
export function liveAs(source: Source, pictures: Source['pictures'], maxDelayMs?: number): Source {
  return {
    live: true,
    maxDelayMs,
    pictures,
    get format() {
      return source.format;
    },
    get device() {
      return source.device;
    },
    get awaited() {
      return source.awaited;
    },
    interrupt: () => source.interrupt(),
    close: () => source.close(),
  };
}
