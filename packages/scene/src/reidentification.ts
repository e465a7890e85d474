import { z } from 'zod';
import { appearanceSchema, likeness } from './appearance.ts';
import { boxOf, type Track } from './track.ts';

/** A removed track: what is kept of its object, so that it can be identified again. */
export const removedSchema = z.object({
  id: z.string(),
  class_name: z.string(),
  appearance: appearanceSchema,
  /** Centre x and y, width and height of its last box. */
  last: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  seen_at: z.number(),
});
type Removed = z.infer<typeof removedSchema>;

/** Most objects that are kept, the newest ones: a limit on the state, which every batch carries. */
const MAX_REMOVED = 64;
/** Lowest similarity to recognise an object, and by how much it must exceed every other object's similarity. */
const MIN_LIKENESS = 0.8;
const MIN_MARGIN = 0.05;
/** How far an object may move, in sizes of its box: in any case, and more each second. Lowest ratio of heights. */
const MAX_DISTANCE = { sizes: 2, sizes_a_second: 2.5, min_height_ratio: 0.6 };
/** An object that was hidden for less time than this is recognised by its position alone, milliseconds. */
const MIN_HIDDEN_MS = 300;

/** Removed or hidden tracks with colours. */
export function removedFrom(tracks: readonly Track[]): Removed[] {
  return tracks.flatMap((track) => {
    const { id, class_name, appearance, seen_at, status } = track;
    if (!appearance || status === 'tentative') return [];
    return [{ id, class_name, appearance, last: boxOf(track), seen_at }];
  });
}

/** Objects that may still come back. @param since epoch ms */
export function recentlyRemoved(removed: readonly Removed[], since: number): Removed[] {
  return removed.filter(({ seen_at }) => seen_at >= since).slice(-MAX_REMOVED);
}

/** The object that came back as this track, if its colours identify only one. */
export function reidentified(track: Track, removed: readonly Removed[]): Removed | undefined {
  const { appearance } = track;
  if (!appearance) return undefined;
  const [best, next] = removed
    .filter((one) => isPlausible(track, one))
    .map((one) => ({ one, likeness: likeness(appearance, one.appearance) }))
    .toSorted((a, b) => b.likeness - a.likeness);
  if (!best || best.likeness < MIN_LIKENESS || best.likeness - (next?.likeness ?? 0) < MIN_MARGIN)
    return undefined;
  return best.one;
}

function isPlausible(track: Track, { class_name, last, seen_at }: Removed): boolean {
  const hidden = track.born_at - seen_at;
  if (class_name !== track.class_name || hidden < MIN_HIDDEN_MS) return false;
  const [x, y, width, height] = boxOf(track);
  const likeSize = Math.min(height / last[3], last[3] / height);
  const far = Math.hypot((x - last[0]) / Math.max(width, last[2]), (y - last[1]) / Math.max(height, last[3]));
  return (
    likeSize >= MAX_DISTANCE.min_height_ratio &&
    far <= MAX_DISTANCE.sizes + (MAX_DISTANCE.sizes_a_second * hidden) / 1000
  );
}
