import { z } from 'zod';
import { type Point, type Segment, segmentsTouch, sideOf } from './zones.ts';

/** A frame to look at. */
const frameRefSchema = z.object({ at: z.number(), number: z.number() });
export type FrameRef = z.infer<typeof frameRefSchema>;

/** Whether one object is in one zone. A change counts once it has lasted. */
export const presenceSchema = z.object({
  inside: z.boolean(),
  /** The first frame of what is the case. */
  since: frameRefSchema.optional(),
  /** The newest frame that agrees with it. */
  last: frameRefSchema.optional(),
  /** The first frame that disagrees, and all after it do too. */
  change: frameRefSchema.optional(),
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

/** Takes one observation, in place. @returns the change that it settles, if it does */
export function observeZone(
  presence: Presence,
  inside: boolean,
  frame: FrameRef,
  debounceMs: number,
): Change | undefined {
  if (inside === presence.inside) {
    presence.last = frame;
    presence.change = undefined;
    return undefined;
  }
  presence.change ??= frame;
  if (frame.at - presence.change.at < debounceMs) return undefined;
  const change = { inside, at: presence.change, before: presence.last };
  Object.assign(presence, { inside, since: change.at, last: frame, change: undefined, told: [] });
  return change;
}

/** On which side of one line an object is: -1 left, 1 right. A change counts once it has lasted. */
export const crossingSchema = z.object({
  side: z.union([z.literal(-1), z.literal(1)]),
  /** Where the object was last seen on that side. */
  point: z.tuple([z.number(), z.number()]),
  last: frameRefSchema,
  /** The first frame on the other side, and whether the way there went over the line, not around its ends. */
  change: z.object({ at: frameRefSchema, over: z.boolean() }).optional(),
});
export type Crossing = z.infer<typeof crossingSchema>;

/** @returns what is known of an object when it is first seen; nothing while it stands on the line itself */
export function firstSide(line: Segment, point: Point, frame: FrameRef): Crossing | undefined {
  const side = Math.sign(sideOf(line, point));
  return side === 1 || side === -1 ? { side, point: [...point], last: frame } : undefined;
}

/** Takes one observation, in place. @returns the crossing that it settles, if it does */
export function observeLine(
  crossing: Crossing,
  line: Segment,
  point: Point,
  frame: FrameRef,
  debounceMs: number,
): { direction: 'left' | 'right'; at: FrameRef; before: FrameRef } | undefined {
  // On the line itself is not yet over it.
  const side = Math.sign(sideOf(line, point)) || crossing.side;
  if (side === crossing.side) {
    Object.assign(crossing, { point: [...point], last: frame, change: undefined });
    return undefined;
  }
  crossing.change ??= { at: frame, over: segmentsTouch([crossing.point, point], line) };
  if (frame.at - crossing.change.at.at < debounceMs) return undefined;
  const { at, over } = crossing.change;
  const before = crossing.last;
  Object.assign(crossing, { side, point: [...point], last: frame, change: undefined });
  return over ? { direction: side > 0 ? 'right' : 'left', at, before } : undefined;
}
