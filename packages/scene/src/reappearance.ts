import { z } from 'zod';
import { appearanceSchema, likeness } from './appearance.ts';
import { boxOf, type Track } from './track.ts';

/** State that is kept of an object that left. */
export const goneSchema = z.object({
  id: z.string(),
  class_name: z.string(),
  appearance: appearanceSchema,
  /** Centre x and y, width and height of its last box. */
  last: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  seen_at: z.number(),
});
type Gone = z.infer<typeof goneSchema>;

/** Most objects that are kept, the newest ones: a limit on the state, which every batch carries. */
const MOST_GONE = 64;
/** Lowest similarity to recognise an object, and by how much it must exceed every other object's similarity. */
const ALIKE = 0.8;
const CLEARLY = 0.05;
/** How far an object may move, in sizes of its box: in any case, and more each second. Lowest ratio of heights. */
const REACH = { sizes: 2, sizes_a_second: 2.5, least_likeness: 0.6 };
/** An object that was hidden for less time than this is recognised by its position alone, milliseconds. */
const HIDDEN_MS = 300;

/** State of objects that left, or are hidden. */
export function goneOf(tracks: readonly Track[]): Gone[] {
  return tracks.flatMap((track) => {
    const { id, class_name, appearance, seen_at, status } = track;
    if (!appearance || status === 'tentative') return [];
    return [{ id, class_name, appearance, last: boxOf(track), seen_at }];
  });
}

/** Objects that may still come back. @param since epoch ms */
export function stillGone(gone: readonly Gone[], since: number): Gone[] {
  return gone.filter(({ seen_at }) => seen_at >= since).slice(-MOST_GONE);
}

/** The object that came back as this track, if its colours identify only one. */
export function returned(track: Track, gone: readonly Gone[]): Gone | undefined {
  const { appearance } = track;
  if (!appearance) return undefined;
  const [best, next] = gone
    .filter((one) => couldBe(track, one))
    .map((one) => ({ one, likeness: likeness(appearance, one.appearance) }))
    .toSorted((a, b) => b.likeness - a.likeness);
  if (!best || best.likeness < ALIKE || best.likeness - (next?.likeness ?? 0) < CLEARLY) return undefined;
  return best.one;
}

function couldBe(track: Track, { class_name, last, seen_at }: Gone): boolean {
  const hidden = track.born_at - seen_at;
  if (class_name !== track.class_name || hidden < HIDDEN_MS) return false;
  const [x, y, width, height] = boxOf(track);
  const likeSize = Math.min(height / last[3], last[3] / height);
  const far = Math.hypot((x - last[0]) / Math.max(width, last[2]), (y - last[1]) / Math.max(height, last[3]));
  return likeSize >= REACH.least_likeness && far <= REACH.sizes + (REACH.sizes_a_second * hidden) / 1000;
}
