import type { Detection } from '@video-pipeline/frame';
import { z } from 'zod';
import { type Appearance, appearanceSchema, blend } from './appearance.ts';
import { type Coordinate, correct, initiate, predict } from './kalman.ts';
import type { Box } from './pairing.ts';

const coordinate = z.tuple([z.number(), z.number(), z.number(), z.number(), z.number()]);

export const trackSchema = z.object({
  /** Unique within a stream for all time: when it began (epoch ms, base 36), and the index of its first detection. */
  id: z.string(),
  /** The class that most of its boxes have, weighted by their confidence. */
  class_name: z.string(),
  /** Sum of confidences by class. */
  votes: z.array(z.tuple([z.string(), z.number()])),
  /** Centre x and y, width and height of the box. */
  box: z.tuple([coordinate, coordinate, coordinate, coordinate]),
  born_at: z.number(),
  seen_at: z.number(),
  /** Its colours, averaged over its boxes. Only where colours are used. */
  appearance: appearanceSchema.optional(),
  /** `tentative`: seen once, maybe a false box. `lost`: not seen in the newest frame. */
  status: z.enum(['tentative', 'tracked', 'lost']),
});
export type Track = z.infer<typeof trackSchema>;

/** A detection, with its colours if they are known. */
export interface Observation extends Detection {
  appearance?: Appearance | undefined;
}

export interface Candidate extends Pick<Observation, 'class_name' | 'confidence' | 'appearance'> {
  /** Its index among the frame's detections. */
  index: number;
  box: Box;
}

/** Smallest size for relative noise, so that no variance is zero. It is far below a pixel in every unit used. */
const MIN_SIZE = 1e-4;
/** Lowest confidence of a box whose colours are used. */
const SURE = 0.6;

export function startTrack(candidate: Candidate, at: number, status: 'tracked' | 'tentative'): Track {
  const { index, class_name, confidence, box, appearance } = candidate;
  const start = (axis: 0 | 1 | 2 | 3): Coordinate => initiate(box[axis], sizeAlong(axis, box));
  return {
    id: `${at.toString(36)}-${index}`,
    class_name,
    votes: [[class_name, confidence]],
    box: [start(0), start(1), start(2), start(3)],
    born_at: at,
    seen_at: at,
    ...(appearance ? { appearance } : {}),
    status,
  };
}

/** Predicts the position of the object after `dt` units of time. */
export function predictTrack(track: Track, dt: number): void {
  const box = boxOf(track);
  // The change of size before an object was hidden does not predict its size afterwards.
  if (track.status === 'lost') for (const size of [track.box[2], track.box[3]]) size[1] = 0;
  for (const [axis, one] of track.box.entries()) predict(one, dt, sizeAlong(axis, box));
}

/** Processes a new sighting of the object. */
export function updateTrack(track: Track, candidate: Candidate, at: number): void {
  const { box, class_name, confidence, appearance } = candidate;
  const before = boxOf(track);
  for (const [axis, one] of track.box.entries()) {
    correct(one, box[axis as 0 | 1 | 2 | 3], sizeAlong(axis, before));
  }
  vote(track, class_name, confidence);
  // A weak box mostly shows what is in front of the object.
  if (appearance && confidence >= SURE) track.appearance = blend(track.appearance, appearance);
  track.status = 'tracked';
  track.seen_at = at;
}

/** A class replaces the track's class only with more votes: a tie changes nothing. */
function vote(track: Track, class_name: string, confidence: number): void {
  const votes = track.votes.find(([name]) => name === class_name);
  if (votes) votes[1] = Math.fround(votes[1] + confidence);
  else track.votes.push([class_name, Math.fround(confidence)]);
  const of = (name: string) => track.votes.find(([voted]) => voted === name)?.[1] ?? 0;
  if (of(class_name) > of(track.class_name)) track.class_name = class_name;
}

export function boxOf({ box: [x, y, width, height] }: Track): Box {
  return [x[0], y[0], width[0], height[0]];
}

/** Width for x and width, height for y and height. */
function sizeAlong(axis: number, box: Box): number {
  return Math.max(MIN_SIZE, axis % 2 === 0 ? box[2] : box[3]);
}
