import type { Point } from '@video-pipeline/scene';
import type { FrameFacts } from '../src/api.ts';

/** Length of a trail, milliseconds. */
const TRAIL_MS = 5_000;
/** How far back a reader may step, milliseconds. */
const KEPT_MS = 60_000;

/** Former positions of each track: the bottom centres of its boxes, relative to the frame, 0..1. */
export class Trails {
  /** Track id -> capture time -> position. */
  readonly #tracks = new Map<string, Map<number, Point>>();

  /** Adds a frame. Frames may come in any order, and more than once. */
  add({ captured_at, width, height, detections }: FrameFacts): void {
    for (const { track_id, bbox } of detections) {
      if (track_id === undefined) continue;
      const places = this.#tracks.get(track_id) ?? new Map<number, Point>();
      const [x1, , x2, y2] = bbox;
      places.set(captured_at, [(x1 + x2) / 2 / width, y2 / height]);
      this.#tracks.set(track_id, places);
    }
    for (const [trackId, places] of this.#tracks) {
      for (const at of places.keys()) if (at < captured_at - KEPT_MS) places.delete(at);
      if (places.size === 0) this.#tracks.delete(trackId);
    }
  }

  /** Positions of the track in the five seconds up to `at`, the oldest first. */
  of(trackId: string, at: number): Point[] {
    const places = [...(this.#tracks.get(trackId) ?? [])];
    return places
      .filter(([time]) => time <= at && time > at - TRAIL_MS)
      .sort(([a], [b]) => a - b)
      .map(([, place]) => place);
  }
}
