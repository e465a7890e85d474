import { PictureFilter } from './picture-filter.ts';
import type { RawFrame } from './raw-frame.ts';

export type MotionGate = ReturnType<typeof motionGate>;

/** When a picture of a still scene is sent. */
export interface MotionSettings {
  /** Share of the picture that must differ from the last one sent, 0..1; `safe`: a small change of one cell. */
  threshold: number | 'safe';
  /** Interval at which a still scene is sent, seconds. */
  keepaliveSeconds: number;
}

/** Size of the grid that is compared. Each cell is a mean, so that sensor noise does not count as motion. */
const COLUMNS = 64;
const ROWS = 36;
/** A cell counts as changed when its luma, 0..255, differs by more. */
const CELL_CHANGE = 8;
/**
 * With `safe` one cell that differs by more than this is enough. The person in the demo clips often holds still, yet
 * `safe` loses none of their frames (`npm run bench:motion`). The lowest share of the picture loses 28 %.
 */
const SAFE_CHANGE = 1;

/** Detects whether a picture differs from the last one sent. One for each stream. */
export function motionGate({ threshold, keepaliveSeconds }: MotionSettings) {
  const filter = new PictureFilter();
  let sent: Buffer | undefined;
  let sentAt = Number.NEGATIVE_INFINITY;
  const differs = (before: Buffer, after: Buffer) =>
    threshold === 'safe'
      ? changedCells(before, after, SAFE_CHANGE) > 0
      : changedCells(before, after, CELL_CHANGE) >= threshold * after.length;
  return {
    /**
     * @param time presentation time, seconds
     * @returns whether to send the picture; if so, later pictures are compared with it
     * @throws JpegError
     */
    async passes(picture: RawFrame, time: number): Promise<boolean> {
      const small = await filter.apply(picture, COLUMNS, ROWS);
      const luma = small.toBuffer().subarray(0, COLUMNS * ROWS);
      const isDue = Math.abs(time - sentAt) >= keepaliveSeconds;
      if (!isDue && sent && !differs(sent, luma)) return false;
      [sent, sentAt] = [luma, time];
      return true;
    },
    [Symbol.dispose]: () => filter.close(),
  };
}

function changedCells(before: Buffer, after: Buffer, limit: number): number {
  let changed = 0;
  for (let at = 0; at < after.length; at += 1) {
    if (Math.abs((after[at] ?? 0) - (before[at] ?? 0)) > limit) changed += 1;
  }
  return changed;
}
