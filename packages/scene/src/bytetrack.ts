import type { Detection } from '@video-pipeline/frame';
import { z } from 'zod';
import { assign } from './assignment.ts';
import { correct, initiate, predict } from './kalman.ts';

/** How boxes become tracks. */
export interface TrackerSettings {
  /** Detections from here on are paired first and may begin a track, 0..1. */
  high_confidence: number;
  /** Detections from here on may keep a track alive, 0..1. Weaker ones are never paired. */
  low_confidence: number;
  /** Least confidence to begin a track, 0..1. */
  new_confidence: number;
  /** How long an unseen object is remembered, seconds. */
  lost_seconds: number;
}

/** Below the paper's confidences (0.6, 0.1, 0.7), as light detectors are less sure than its YOLOX. */
export const DEFAULT_TRACKER: TrackerSettings = {
  high_confidence: 0.3,
  low_confidence: 0.1,
  new_confidence: 0.5,
  lost_seconds: 2,
};

const coordinate = z.tuple([z.number(), z.number(), z.number(), z.number(), z.number()]);
const trackSchema = z.object({
  /** Unique within a stream for all time: when the track began (epoch ms, base 36) and with which detection. */
  id: z.string(),
  class_name: z.string(),
  /** Centre x and y, width and height of the box. */
  box: z.tuple([coordinate, coordinate, coordinate, coordinate]),
  born_at: z.number(),
  seen_at: z.number(),
  /** `tentative`: seen once, maybe a false box. `lost`: not seen in the newest frame. */
  status: z.enum(['tentative', 'tracked', 'lost']),
});
export type Track = z.infer<typeof trackSchema>;

/** Everything the tracker knows, as JSON: given to another tracker, that one goes on where this one was. */
export const trackerStateSchema = z.object({
  /** When the newest frame was captured, epoch ms; -1 before the first one. */
  at: z.number(),
  tracks: z.array(trackSchema),
});
export type TrackerState = z.infer<typeof trackerStateSchema>;

export interface Tracked {
  /** Of each detection, the id of its track; undefined for those that belong to none (yet). */
  ids: (string | undefined)[];
  /** Tracks that had an id and are given up. */
  ended: Track[];
  /** Whether the frame was not newer than the last one, and therefore left aside. */
  late: boolean;
}

/** Unit of time of the method's noise: it was tuned on video of 30 frames a second. */
const UNIT_MS = 1000 / 30;
/** Highest costs (1 - IoU, weighted by confidence in the first and third) at which two may be paired. */
const COST_LIMIT = { high: 0.8, low: 0.5, tentative: 0.7 };
/** Two tracks of one object: their boxes overlap by more than this (IoU). */
const DUPLICATE_IOU = 0.85;
/** A frame older than the last by more than this was not late: the camera's clock was set back. */
const CLOCK_STEP_MS = 60_000;

interface Candidate {
  index: number;
  class_name: string;
  confidence: number;
  box: Box;
}
/** Centre x, centre y, width, height, px. */
type Box = [number, number, number, number];

/**
 * ByteTrack: Zhang et al., 'ByteTrack: Multi-Object Tracking by Associating Every Detection Box', ECCV 2022. Confident
 * boxes are paired with the predicted tracks first, then weak boxes with what is left, as an occluded object is
 * still a weak box. Here, moreover:
 * - only boxes of one class are paired, so that a track has one class;
 * - time is that of capture, so dropped frames and odd frame rates only make the prediction longer;
 * - a frame that is not newer than the last is left aside, and its detections get no id;
 * - noise is relative to width and height, as in Aharon et al., 'BoT-SORT', 2022;
 * - ids depend on nothing but the frames, so a replay gives the same ones.
 */
export class ByteTracker {
  readonly #settings: TrackerSettings;
  #state: TrackerState;

  constructor(settings: TrackerSettings, state: TrackerState = { at: -1, tracks: [] }) {
    this.#settings = settings;
    this.#state = state;
  }

  get state(): TrackerState {
    return this.#state;
  }

  /** Takes the stream's next frame. */
  update(frame: { capturedAt: number; detections: readonly Detection[] }): Tracked {
    const ids = new Array<string | undefined>(frame.detections.length).fill(undefined);
    const { at } = this.#state;
    const restart = frame.capturedAt < at - CLOCK_STEP_MS;
    if (frame.capturedAt <= at && !restart) return { ids, ended: [], late: true };
    const before = this.#state.tracks;
    const alive = restart ? [] : before.filter((track) => !this.#expired(track, frame.capturedAt));
    for (const track of alive) advance(track, (frame.capturedAt - at) / UNIT_MS);
    const tracks = withoutDuplicates(this.#associate(alive, frame, ids, at < 0 || restart));
    this.#state = { at: frame.capturedAt, tracks };
    const ended = before.filter((track) => track.status !== 'tentative' && !tracks.includes(track));
    return { ids, ended, late: false };
  }

  #expired(track: Track, now: number): boolean {
    return now - track.seen_at > this.#settings.lost_seconds * 1000;
  }

  /** Pairs, begins and loses tracks; writes into `ids`. @returns the tracks that live on */
  #associate(
    tracks: Track[],
    { capturedAt, detections }: { capturedAt: number; detections: readonly Detection[] },
    ids: (string | undefined)[],
    first: boolean,
  ): Track[] {
    const { high_confidence, low_confidence, new_confidence } = this.#settings;
    const candidates = detections.map(toCandidate);
    const high = candidates.filter((one) => one.confidence >= high_confidence);
    const low = candidates.filter(
      (one) => one.confidence >= low_confidence && one.confidence < high_confidence,
    );
    const found = (track: Track, candidate: Candidate) => {
      see(track, candidate, capturedAt);
      ids[candidate.index] = track.id;
    };

    const known = tracks.filter((track) => track.status !== 'tentative');
    const strong = pair(known, high, weightedCost, COST_LIMIT.high, found);
    const visible = strong.tracks.filter((track) => track.status === 'tracked');
    const weak = pair(visible, low, overlapCost, COST_LIMIT.low, found);
    for (const track of weak.tracks) lose(track);
    const tentative = tracks.filter((track) => track.status === 'tentative');
    const once = pair(tentative, strong.candidates, weightedCost, COST_LIMIT.tentative, found);
    const born = once.candidates
      .filter((one) => one.confidence >= new_confidence)
      .map((one) => {
        const track = begin(one, capturedAt, first ? 'tracked' : 'tentative');
        // In the first frame nothing can be waited for.
        if (first) ids[one.index] = track.id;
        return track;
      });
    return [...tracks.filter((track) => !once.tracks.includes(track)), ...born];
  }
}

function toCandidate(
  { class_name, confidence, bbox: [x1, y1, x2, y2] }: Detection,
  index: number,
): Candidate {
  return { index, class_name, confidence, box: [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1] };
}

/** Pairs at least cost and reports each pair. @returns what stayed alone */
function pair(
  tracks: Track[],
  candidates: Candidate[],
  cost: (track: Track, candidate: Candidate) => number,
  limit: number,
  found: (track: Track, candidate: Candidate) => void,
): { tracks: Track[]; candidates: Candidate[] } {
  const costs = new Float64Array(tracks.length * candidates.length);
  let next = 0;
  for (const track of tracks) {
    for (const candidate of candidates) costs[next++] = cost(track, candidate);
  }
  const columns = assign(costs, tracks.length, candidates.length, limit);
  const taken = new Set<Candidate>();
  const alone = tracks.filter((track, row) => {
    const candidate = candidates[columns[row] ?? -1];
    if (!candidate) return true;
    taken.add(candidate);
    found(track, candidate);
    return false;
  });
  return { tracks: alone, candidates: candidates.filter((one) => !taken.has(one)) };
}

function overlapCost(track: Track, { class_name, box }: Candidate): number {
  return track.class_name === class_name ? 1 - iou(boxOf(track), box) : 1;
}

function weightedCost(track: Track, candidate: Candidate): number {
  return 1 - (1 - overlapCost(track, candidate)) * candidate.confidence;
}

function begin({ index, class_name, box }: Candidate, at: number, status: 'tracked' | 'tentative'): Track {
  const start = (axis: 0 | 1 | 2 | 3) => initiate(box[axis], sizeAlong(axis, box));
  return {
    id: `${at.toString(36)}-${index}`,
    class_name,
    box: [start(0), start(1), start(2), start(3)],
    born_at: at,
    seen_at: at,
    status,
  };
}

function advance(track: Track, dt: number): void {
  const box = boxOf(track);
  // How the size changed before an object was hidden says nothing of how it goes on.
  if (track.status === 'lost') for (const size of [track.box[2], track.box[3]]) size[1] = 0;
  for (const [axis, coordinate] of track.box.entries()) predict(coordinate, dt, sizeAlong(axis, box));
}

function see(track: Track, { box }: Candidate, at: number): void {
  const before = boxOf(track);
  for (const [axis, coordinate] of track.box.entries()) {
    correct(coordinate, box[axis as 0 | 1 | 2 | 3], sizeAlong(axis, before));
  }
  track.status = 'tracked';
  track.seen_at = at;
}

function lose(track: Track): void {
  track.status = 'lost';
}

/** Width for x and width, height for y and height; at least a pixel, so that no variance is nought. */
function sizeAlong(axis: number, box: Box): number {
  return Math.max(1, axis % 2 === 0 ? box[2] : box[3]);
}

function boxOf({ box: [x, y, width, height] }: Track): Box {
  return [x[0], y[0], width[0], height[0]];
}

/** Intersection over union, 0..1. */
function iou(a: Box, b: Box): number {
  const shared = sharedLength(a[0], a[2], b[0], b[2]) * sharedLength(a[1], a[3], b[1], b[3]);
  return shared > 0 ? shared / (a[2] * a[3] + b[2] * b[3] - shared) : 0;
}

function sharedLength(a: number, aLength: number, b: number, bLength: number): number {
  return Math.max(0, Math.min(a + aLength / 2, b + bLength / 2) - Math.max(a - aLength / 2, b - bLength / 2));
}

/** Where a visible and a lost track lie on each other, the one that was followed for less time goes. */
function withoutDuplicates(tracks: Track[]): Track[] {
  const gone = new Set<Track>();
  for (const lost of tracks.filter((track) => track.status === 'lost')) {
    for (const seen of tracks.filter((track) => track.status === 'tracked')) {
      if (overlapCost(seen, { ...lost, index: 0, confidence: 1, box: boxOf(lost) }) >= 1 - DUPLICATE_IOU)
        continue;
      gone.add(seen.seen_at - seen.born_at > lost.seen_at - lost.born_at ? lost : seen);
    }
  }
  return tracks.filter((track) => !gone.has(track));
}
