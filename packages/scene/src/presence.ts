import { z } from 'zod';
import { distanceInSizes, type Point, type Segment, segmentsTouch, sideOf } from './zones.ts';

/** A frame: its capture time (epoch ms), its number, and its time in the scene, ms. */
const frameRefSchema = z.object({ at: z.number(), number: z.number(), time: z.number() });
export type FrameRef = z.infer<typeof frameRefSchema>;

/**
 * A change that is not accepted yet: its first frame, whether the object was well away from the border since then, and
 * the number of frames that showed the object since then.
 */
const pendingSchema = z.object({ at: frameRefSchema, clear: z.boolean(), frames: z.number() });
type Pending = z.infer<typeof pendingSchema>;

/** When a change is accepted. */
export interface Debounce {
  /** How long it must last, milliseconds. */
  debounceMs: number;
  /** How far from the border the object must get, in sizes of its box. */
  hysteresis: number;
}

/** A change that lasted this many times `debounceMs`, in this many frames, is accepted even close to the border. */
const SETTLED = { times: 4, frames: 20 };

/**
 * Whether a change from `since` to `now` is accepted. Boxes flicker: an object that stands on a border seems to cross
 * it again and again. So it must get away from the border, or stay on its side for much longer.
 */
function hasLasted({ at, clear, frames }: Pending, now: FrameRef, { debounceMs }: Debounce): boolean {
  const lasted = now.time - at.time;
  return clear ? lasted >= debounceMs : lasted >= debounceMs * SETTLED.times && frames >= SETTLED.frames;
}

/** Whether one object is in one zone. A change is accepted once it has lasted. */
export const presenceSchema = z.object({
  inside: z.boolean(),
  /** The first frame of the current state. */
  since: frameRefSchema.optional(),
  /** The newest frame that shows the current state. */
  last: frameRefSchema.optional(),
  /** All frames since then show the other state. */
  change: pendingSchema.optional(),
  /** Rules that reported this stay. The stored state has this name. */
  told: z.array(z.string()),
});
type Presence = z.infer<typeof presenceSchema>;

export interface Change {
  inside: boolean;
  at: FrameRef;
  /** The last frame of the state before. */
  before: FrameRef | undefined;
}

/**
 * Processes one observation, in place.
 * @param where whether the object is in the zone, and whether it is well away from the zone's border
 * @returns the change that this observation confirms, if any
 */
export function observeZone(
  presence: Presence,
  { inside, clear }: { inside: boolean; clear: () => boolean },
  frame: FrameRef,
  debounce: Debounce,
): Change | undefined {
  if (inside === presence.inside) {
    presence.last = frame;
    presence.change = undefined;
    return undefined;
  }
  presence.change ??= { at: frame, clear: false, frames: 0 };
  presence.change.frames++;
  // An object that was never seen outside did not cross the border.
  presence.change.clear ||= !presence.last || clear();
  if (!hasLasted(presence.change, frame, debounce)) return undefined;
  const change = { inside, at: presence.change.at, before: presence.last };
  Object.assign(presence, { inside, since: change.at, last: frame, change: undefined, told: [] });
  return change;
}

/**
 * Processes the loss of the object: it is in no zone any more.
 * @returns changes that can't be contradicted any more, the older first
 */
export function leaveZone({ inside, change, last }: Presence): Change[] {
  const at = change?.at ?? last;
  if (inside) return at ? [{ inside: false, at, before: last }] : [];
  // The object was seen outside, then well inside. It entered, and was lost before the change had lasted.
  if (!change?.clear || !last) return [];
  return [
    { inside: true, at: change.at, before: last },
    { inside: false, at: change.at, before: change.at },
  ];
}

/** On which side of one line an object is: -1 left, 1 right. A change is accepted once it has lasted. */
export const crossingSchema = z.object({
  side: z.union([z.literal(-1), z.literal(1)]),
  /** Last position of the object on that side. */
  point: z.tuple([z.number(), z.number()]),
  last: frameRefSchema,
  /** All frames since then show the other side. `over`: the way there crossed the line, and did not pass its ends. */
  change: pendingSchema.extend({ over: z.boolean() }).optional(),
});
type Crossing = z.infer<typeof crossingSchema>;

export interface Passage {
  direction: 'left' | 'right';
  at: FrameRef;
  before: FrameRef;
}

/** @returns the state of an object at its first sighting; undefined while it stands exactly on the line */
export function firstSide(line: Segment, point: Point, frame: FrameRef): Crossing | undefined {
  const side = Math.sign(sideOf(line, point));
  return side === 1 || side === -1 ? { side, point: [...point], last: frame } : undefined;
}

/**
 * Processes one observation, in place.
 * @param size width and height of the object, in the unit of `point`
 * @returns the crossing that this observation confirms, if any
 */
export function observeLine(
  crossing: Crossing,
  line: Segment,
  { point, size, frame }: { point: Point; size: Point; frame: FrameRef },
  debounce: Debounce,
): Passage | undefined {
  // An object exactly on the line has not crossed it yet.
  const side = Math.sign(sideOf(line, point)) || crossing.side;
  if (side === crossing.side) {
    Object.assign(crossing, { point: [...point], last: frame, change: undefined });
    return undefined;
  }
  const over = () => segmentsTouch([crossing.point, point], line);
  crossing.change ??= { at: frame, over: over(), clear: false, frames: 0 };
  crossing.change.frames++;
  crossing.change.clear ||= distanceInSizes(line, point, size) >= debounce.hysteresis;
  if (!hasLasted(crossing.change, frame, debounce)) return undefined;
  const passage = passageOf(crossing);
  Object.assign(crossing, { side, point: [...point], last: frame, change: undefined });
  return passage;
}

/** Processes the loss of the object. @returns a crossing that had not lasted yet, and can't be contradicted any more */
export function leaveLine(crossing: Crossing): Passage | undefined {
  return crossing.change?.clear ? passageOf(crossing) : undefined;
}

function passageOf({ side, change, last }: Crossing): Passage | undefined {
  if (!change?.over) return undefined;
  return { direction: side < 0 ? 'right' : 'left', at: change.at, before: last };
}
