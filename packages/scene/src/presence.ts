import { z } from 'zod';
import { distanceInSizes, type Point, type Segment, segmentsTouch, sideOf } from './zones.ts';

/** A frame to look at: when it was captured (epoch ms), its number, and its time in the scene, ms. */
const frameRefSchema = z.object({ at: z.number(), number: z.number(), time: z.number() });
export type FrameRef = z.infer<typeof frameRefSchema>;

/**
 * A change that does not count yet: its first frame, whether the object got away from the border since, and in how many
 * frames the object was seen since.
 */
const pendingSchema = z.object({ at: frameRefSchema, clear: z.boolean(), frames: z.number() });
type Pending = z.infer<typeof pendingSchema>;

/** When a change counts. */
export interface Patience {
  /** How long it must last, milliseconds. */
  debounceMs: number;
  /** How far from the border the object must get, in sizes of its box. */
  hysteresis: number;
}

/** A change that lasted so many times `debounceMs`, in so many frames, counts however near the border the object is. */
const STILL = { times: 4, frames: 20 };

/**
 * Whether a change from `since` to `now` counts. Boxes tremble, so an object that stands on a border seems to cross it
 * again and again: it must get away from the border, or stay on its side for much longer.
 */
function hasLasted({ at, clear, frames }: Pending, now: FrameRef, { debounceMs }: Patience): boolean {
  const lasted = now.time - at.time;
  return clear ? lasted >= debounceMs : lasted >= debounceMs * STILL.times && frames >= STILL.frames;
}

/** Whether one object is in one zone. A change counts once it has lasted. */
export const presenceSchema = z.object({
  inside: z.boolean(),
  /** The first frame of what is the case. */
  since: frameRefSchema.optional(),
  /** The newest frame that agrees with it. */
  last: frameRefSchema.optional(),
  /** All frames since then disagree. */
  change: pendingSchema.optional(),
  /** Rules that were told of this stay. */
  told: z.array(z.string()),
});
export type Presence = z.infer<typeof presenceSchema>;

export interface Change {
  inside: boolean;
  at: FrameRef;
  /** The last frame before. */
  before: FrameRef | undefined;
}

/**
 * Takes one observation, in place.
 * @param where whether the object is in the zone, and whether it is well away from the zone's border
 * @returns the change that it settles, if it does
 */
export function observeZone(
  presence: Presence,
  { inside, clear }: { inside: boolean; clear: () => boolean },
  frame: FrameRef,
  patience: Patience,
): Change | undefined {
  if (inside === presence.inside) {
    presence.last = frame;
    presence.change = undefined;
    return undefined;
  }
  presence.change ??= { at: frame, clear: false, frames: 0 };
  presence.change.frames++;
  // Who was never seen outside did not come over the border.
  presence.change.clear ||= !presence.last || clear();
  if (!hasLasted(presence.change, frame, patience)) return undefined;
  const change = { inside, at: presence.change.at, before: presence.last };
  Object.assign(presence, { inside, since: change.at, last: frame, change: undefined, told: [] });
  return change;
}

/**
 * The object was lost: it is in no zone any more.
 * @returns changes that nothing speaks against any more, the older first
 */
export function leaveZone({ inside, change, last }: Presence): Change[] {
  const at = change?.at ?? last;
  if (inside) return at ? [{ inside: false, at, before: last }] : [];
  // Seen outside, then well inside: it entered, and was lost there before the change had lasted.
  if (!change?.clear || !last) return [];
  return [
    { inside: true, at: change.at, before: last },
    { inside: false, at: change.at, before: change.at },
  ];
}

/** On which side of one line an object is: -1 left, 1 right. A change counts once it has lasted. */
export const crossingSchema = z.object({
  side: z.union([z.literal(-1), z.literal(1)]),
  /** Where the object was last seen on that side. */
  point: z.tuple([z.number(), z.number()]),
  last: frameRefSchema,
  /** All frames since then are on the other side; whether the way there went over the line, not around its ends. */
  change: pendingSchema.extend({ over: z.boolean() }).optional(),
});
export type Crossing = z.infer<typeof crossingSchema>;

export interface Passage {
  direction: 'left' | 'right';
  at: FrameRef;
  before: FrameRef;
}

/** @returns what is known of an object when it is first seen; nothing while it stands on the line itself */
export function firstSide(line: Segment, point: Point, frame: FrameRef): Crossing | undefined {
  const side = Math.sign(sideOf(line, point));
  return side === 1 || side === -1 ? { side, point: [...point], last: frame } : undefined;
}

/**
 * Takes one observation, in place.
 * @param size width and height of the object, in the unit of `point`
 * @returns the crossing that it settles, if it does
 */
export function observeLine(
  crossing: Crossing,
  line: Segment,
  { point, size, frame }: { point: Point; size: Point; frame: FrameRef },
  patience: Patience,
): Passage | undefined {
  // On the line itself is not yet over it.
  const side = Math.sign(sideOf(line, point)) || crossing.side;
  if (side === crossing.side) {
    Object.assign(crossing, { point: [...point], last: frame, change: undefined });
    return undefined;
  }
  const over = () => segmentsTouch([crossing.point, point], line);
  crossing.change ??= { at: frame, over: over(), clear: false, frames: 0 };
  crossing.change.frames++;
  crossing.change.clear ||= distanceInSizes(line, point, size) >= patience.hysteresis;
  if (!hasLasted(crossing.change, frame, patience)) return undefined;
  const passage = passageOf(crossing);
  Object.assign(crossing, { side, point: [...point], last: frame, change: undefined });
  return passage;
}

/** The object was lost. @returns a crossing that had not lasted yet, and that nothing speaks against any more */
export function leaveLine(crossing: Crossing): Passage | undefined {
  return crossing.change?.clear ? passageOf(crossing) : undefined;
}

function passageOf({ side, change, last }: Crossing): Passage | undefined {
  if (!change?.over) return undefined;
  return { direction: side < 0 ? 'right' : 'left', at: change.at, before: last };
}
