import { z } from 'zod';
import type { SceneConfig } from './config.ts';
import { fromCorners, iou, overlappingPairs, type Pair, pairAtLeastCost } from './pairing.ts';
import { recentlyRemoved, reidentified, removedFrom, removedSchema } from './reidentification.ts';
import {
  boxOf,
  type Candidate,
  type Observation,
  predictTrack,
  startTrack,
  type Track,
  trackSchema,
  updateTrack,
} from './track.ts';

type TrackerSettings = NonNullable<SceneConfig['tracks']>;

/** The whole state of a tracker, as JSON. Another tracker with this state continues where this one was. */
export const trackerStateSchema = z.object({
  /** When the newest frame was captured, epoch ms; -1 before the first one. */
  at: z.number(),
  /** Times between the newest frames, milliseconds, the newest last. */
  intervals: z.array(z.number()),
  tracks: z.array(trackSchema),
  /** Removed tracks, whose objects may come back. The stored state has this name. */
  gone: z.array(removedSchema).optional(),
});
type TrackerState = z.infer<typeof trackerStateSchema>;

export interface Tracked {
  /** The id of each detection's track. Undefined without a track, or while the track has no id. */
  ids: (string | undefined)[];
  /** The track of each detection, including tracks that were seen once and have no id yet. */
  tracks: (Track | undefined)[];
  /** Tracks with an id that have ended. */
  ended: Track[];
  /** Tracks that were seen only once, and never got an id. */
  dropped: Track[];
}

/** Most objects that are followed at once: of thousands that overlap, each pair would have to be compared. */
const MAX_TRACKS = 1_000;

/** Unit of time of the method's noise: it was tuned on video of 30 frames a second. */
const UNIT_MS = 1000 / 30;
/** Highest costs of a pair: 1 - IoU, weighted by confidence in `high` and `tentative`; a distance in `far`. */
const COST_LIMIT = { high: 0.9, low: 0.5, tentative: 0.9, far: 1 };
/** A track takes a box of another class only above this IoU. Pairs of one class are preferred. */
const OTHER_CLASS_IOU = 0.5;
const OTHER_CLASS_COST = 0.2;
/** IoU above which two tracks are of the same object. */
const DUPLICATE_IOU = 0.85;
/** An object is remembered for at least this many frames, so that objects of a slow camera get ids, too. */
const LOST_FRAMES = 3;
/** Number of intervals whose median is the usual interval. */
const INTERVALS = 9;
/** With frames further apart than this, a walker's boxes may not overlap, milliseconds. */
const SPARSE_MS = 350;
/** How far an object moves at most, in sizes of its box: each second, and between two frames. */
const FAR = { sizes_a_second: 2.5, sizes: 4, least_likeness: 0.6 };

/**
 * ByteTrack: Zhang et al., 'ByteTrack: Multi-Object Tracking by Associating Every Detection Box', ECCV 2022. Confident
 * boxes are paired with the predicted tracks first, then weak boxes with the tracks that are left, since an occluded
 * object still gives a weak box. In addition:
 * - a track takes the class that most of its boxes have. A box of another class is paired with it only if it covers it;
 * - time is that of capture, so dropped frames and odd frame rates only make the prediction longer;
 * - where frames are far apart, the rest is paired by distance, since boxes of a moving object don't overlap then;
 * - where colours are used, an object that comes back after it was lost gets its former id;
 * - a frame that is not newer than the last is not used, and its detections get no id;
 * - noise is relative to width and height, as in Aharon et al., 'BoT-SORT', 2022. So boxes may be in any unit;
 * - ids depend on nothing but the frames, so a replay gives the same ones.
 */
export class ByteTracker {
  readonly settings: TrackerSettings;
  #state: TrackerState;

  constructor(settings: TrackerSettings, state: TrackerState = { at: -1, intervals: [], tracks: [] }) {
    this.settings = settings;
    this.#state = state;
  }

  get state(): TrackerState {
    return this.#state;
  }

  /** Usual time between two frames, milliseconds: the median of the newest intervals. 0 before the second frame. */
  get interval(): number {
    const sorted = this.#state.intervals.toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? 0;
  }

  /** How long an unseen object is remembered, milliseconds. */
  get lostMs(): number {
    return Math.max(this.settings.lost_seconds * 1000, LOST_FRAMES * this.interval);
  }

  /** Processes the stream's next frame. */
  update(frame: { capturedAt: number; detections: readonly Observation[] }): Tracked {
    const { at, tracks: before } = this.#state;
    const dt = frame.capturedAt - at;
    if (dt <= 0) {
      const nothing = frame.detections.map(() => undefined);
      return { ids: nothing, tracks: nothing, ended: [], dropped: [] };
    }
    const { lostMs } = this;
    const remembered = before.filter((track) => frame.capturedAt - track.seen_at <= lostMs);
    const alive = highest(remembered, ({ seen_at }) => seen_at);
    for (const track of alive) predictTrack(track, dt / UNIT_MS);
    const { continuing, seen } = this.#associate(alive, frame, at < 0);
    const tracks = withoutDuplicates(continuing);
    const intervals = at < 0 ? [] : [...this.#state.intervals, dt].slice(-INTERVALS);
    this.#state = { ...this.#state, at: frame.capturedAt, intervals, tracks };
    const living = new Set(tracks);
    const removed = before.filter((track) => !living.has(track));
    const ended = removed.filter(({ status }) => status !== 'tentative');
    const dropped = removed.filter(({ status }) => status === 'tentative');
    if (this.settings.appearance_seconds > 0) dropped.push(...this.#reidentify(ended, at));
    return {
      ids: seen.map((track) => (track?.status === 'tracked' ? track.id : undefined)),
      tracks: seen,
      // A track whose id came back in this frame did not end.
      ended: ended.filter(({ id }) => !this.#state.tracks.some((track) => track.id === id)),
      dropped,
    };
  }

  /**
   * A track gets its id at its second sighting. If its colours are those of an object that left, it now gets that
   * object's id. @param before capture time of the last frame. @returns these tracks as they were before
   */
  #reidentify(ended: readonly Track[], before: number): Track[] {
    const { at, tracks, gone: stored = [] } = this.#state;
    const former: Track[] = [];
    let removed = recentlyRemoved(
      [...stored, ...removedFrom(ended)],
      at - this.settings.appearance_seconds * 1000,
    );
    for (const track of tracks) {
      if (track.status !== 'tracked' || track.born_at !== before || track.seen_at !== at) continue;
      const hidden = this.#state.tracks.filter(({ status }) => status === 'lost');
      const one = reidentified(track, [...removed, ...removedFrom(hidden)]);
      if (!one) continue;
      former.push({ ...track });
      track.id = one.id;
      removed = removed.filter(({ id }) => id !== one.id);
      const isFormer = (other: Track) => other !== track && other.id === one.id;
      this.#state.tracks = this.#state.tracks.filter((other) => !isFormer(other));
    }
    this.#state.gone = removed;
    return former;
  }

  /** Pairs, begins and loses tracks. @returns the tracks that continue, and the track of each detection as `seen` */
  #associate(
    tracks: Track[],
    { capturedAt, detections }: { capturedAt: number; detections: readonly Observation[] },
    first: boolean,
  ): { continuing: Track[]; seen: (Track | undefined)[] } {
    const { high_confidence, low_confidence, new_confidence } = this.settings;
    const candidates = highest(detections.map(toCandidate), ({ confidence }) => confidence);
    const high = candidates.filter((one) => one.confidence >= high_confidence);
    const low = candidates.filter(
      (one) => one.confidence >= low_confidence && one.confidence < high_confidence,
    );
    const seen: (Track | undefined)[] = detections.map(() => undefined);
    const found = (track: Track, candidate: Candidate) => {
      updateTrack(track, candidate, capturedAt);
      seen[candidate.index] = track;
    };
    const byOverlap = this.#overlapping(overlapCost);
    const byConfidence = this.#overlapping(weightedCost);

    const known = tracks.filter((track) => track.status !== 'tentative');
    const strong = pair(known, high, byConfidence, COST_LIMIT.high, found);
    const visible = strong.tracks.filter((track) => track.status === 'tracked');
    const weak = pair(visible, low, byOverlap, COST_LIMIT.low, found);
    const tentative = tracks.filter((track) => track.status === 'tentative');
    const once = pair(tentative, strong.candidates, byConfidence, COST_LIMIT.tentative, found);
    const rest = [...weak.tracks, ...strong.tracks.filter(({ status }) => status === 'lost'), ...once.tracks];
    const far = pair(rest, once.candidates, nearby(capturedAt), COST_LIMIT.far, found);
    const born = far.candidates
      .filter((one) => one.confidence >= new_confidence)
      .map((one) => {
        // A track is confirmed by a second sighting, but in the first frame at once.
        const track = startTrack(one, capturedAt, first ? 'tracked' : 'tentative');
        seen[one.index] = track;
        return track;
      });
    const unseen = new Set(far.tracks);
    for (const track of unseen) if (track.status === 'tracked') track.status = 'lost';
    const older = tracks.filter((track) => track.status !== 'tentative' || !unseen.has(track));
    return { continuing: [...older, ...born], seen };
  }

  #overlapping(cost: (track: Track, candidate: Candidate) => number): Pairing {
    const boxes = (candidates: readonly Candidate[]) => candidates.map(({ box }) => box);
    return (tracks, candidates) => ({
      pairs: overlappingPairs(tracks.map(boxOf), boxes(candidates)),
      cost: (track, candidate) => {
        if (track.class_name === candidate.class_name) return cost(track, candidate);
        const other = this.settings.strict_classes || iou(boxOf(track), candidate.box) < OTHER_CLASS_IOU;
        return other ? Number.POSITIVE_INFINITY : cost(track, candidate) + OTHER_CLASS_COST;
      },
    });
  }
}

/** Which tracks and candidates may be paired, by their indexes, and at which cost. */
type Pairing = (
  tracks: readonly Track[],
  candidates: readonly Candidate[],
) => { pairs: Pair[]; cost: (track: Track, candidate: Candidate) => number };

/** The items of the highest rank, as many as may be followed. */
function highest<Item>(items: Item[], rank: (item: Item) => number): Item[] {
  if (items.length <= MAX_TRACKS) return items;
  return items.toSorted((one, other) => rank(other) - rank(one)).slice(0, MAX_TRACKS);
}

function toCandidate({ class_name, confidence, bbox, appearance }: Observation, index: number): Candidate {
  return { index, class_name, confidence, appearance, box: fromCorners(bbox) };
}

/** Pairs at the lowest total cost, and reports each pair. @returns the tracks and candidates without a partner */
function pair(
  tracks: Track[],
  candidates: Candidate[],
  pairing: Pairing,
  limit: number,
  found: (track: Track, candidate: Candidate) => void,
): { tracks: Track[]; candidates: Candidate[] } {
  const { pairs, cost } = pairing(tracks, candidates);
  const paired = new Set<Track | Candidate>();
  const partners = ({ row, column }: Pair) => [tracks[row], candidates[column]] as [Track, Candidate];
  for (const match of pairAtLeastCost(pairs, (one) => cost(...partners(one)), limit)) {
    const [track, candidate] = partners(match);
    paired.add(track).add(candidate);
    found(track, candidate);
  }
  return {
    tracks: tracks.filter((track) => !paired.has(track)),
    candidates: candidates.filter((one) => !paired.has(one)),
  };
}

function overlapCost(track: Track, { box }: Candidate): number {
  return 1 - iou(boxOf(track), box);
}

function weightedCost(track: Track, candidate: Candidate): number {
  return 1 - (1 - overlapCost(track, candidate)) * candidate.confidence;
}

/** Pairs of one class and similar size, close enough for an object's speed. None if frames are close together. */
function nearby(now: number): Pairing {
  return (tracks, candidates) => ({
    pairs: tracks.flatMap((track, row) =>
      now - track.seen_at < SPARSE_MS ? [] : candidates.map((_, column) => ({ row, column })),
    ),
    cost: (track, candidate) => {
      if (track.class_name !== candidate.class_name) return Number.POSITIVE_INFINITY;
      const [x, y, width, height] = boxOf(track);
      const { box } = candidate;
      const likeness = Math.min(width / box[2], box[2] / width) * Math.min(height / box[3], box[3] / height);
      if (!(likeness >= FAR.least_likeness)) return Number.POSITIVE_INFINITY;
      const reach = Math.min(FAR.sizes, (FAR.sizes_a_second * (now - track.seen_at)) / 1000);
      return Math.hypot((box[0] - x) / width, (box[1] - y) / height) / reach;
    },
  });
}

/** Where a visible and a lost track of one class cover each other, removes the shorter one. */
function withoutDuplicates(tracks: Track[]): Track[] {
  const lost = tracks.filter((track) => track.status === 'lost');
  const seen = tracks.filter((track) => track.status === 'tracked');
  const duplicates = new Set<Track>();
  for (const { row, column } of overlappingPairs(lost.map(boxOf), seen.map(boxOf))) {
    const [one, other] = [lost[row], seen[column]] as [Track, Track];
    if (one.class_name !== other.class_name || iou(boxOf(one), boxOf(other)) <= DUPLICATE_IOU) continue;
    duplicates.add(other.seen_at - other.born_at > one.seen_at - one.born_at ? one : other);
  }
  return tracks.filter((track) => !duplicates.has(track));
}
