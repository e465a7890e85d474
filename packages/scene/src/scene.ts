import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Detection, Frame } from '@video-pipeline/frame';
import { z } from 'zod';
import type { Appearance } from './appearance.ts';
import { ByteTracker, trackerStateSchema } from './bytetrack.ts';
import { DEFAULT_TRACKER, type SceneConfig, tracksObjects } from './config.ts';
import type { SceneEvent } from './event.ts';
import { EventDetector, eventStateSchema } from './events.ts';
import { type Filtered, type Filters, filterDetections, filtersOf } from './filters.ts';
import { clockStateSchema, SceneClock } from './scene-clock.ts';
import type { Track } from './track.ts';
import { inZone, relativeBox } from './zones.ts';

/** The whole state of a scene after a frame. A change that can't read older states raises the version. */
const sceneStateSchema = z.object({
  version: z.literal(2),
  clock: clockStateSchema,
  tracker: trackerStateSchema,
  events: eventStateSchema,
});
type SceneState = z.infer<typeof sceneStateSchema>;

/** Largest state. One with a thousand objects has a tenth of it. */
const MAX_STATE_BYTES = 16 * 1024 * 1024;

/** Most objects of a record that carry the names of their zones, and most names of an object. */
const MAX_ZONED = 256;
const MAX_ZONES = 8;

export interface SceneFrame extends Pick<Frame, 'capturedAt' | 'frameNumber' | 'width' | 'height'> {
  /** The ingest run that numbered the frame. Without it, all frames belong to one run. */
  session?: string | undefined;
  detections: readonly Detection[];
  /** Colours of detections, as far as they are known; see {@link Scene.looksAtColours}. */
  appearances?: ReadonlyMap<Detection, Appearance> | undefined;
}

/** With frames further apart than this, objects move too far to be followed, milliseconds. */
export const SPARSE_FRAMES_MS = 1_500;

export interface SceneResult {
  /** Detections that passed the filters, with `track_id` if the object has one. */
  detections: Detection[];
  removed: Filtered['removed'];
  events: SceneEvent[];
  /** By how much the clock of the camera or its host was set back with this frame, milliseconds. */
  setBackMs?: number;
  /** Usual time between two frames, milliseconds. 0 before the second frame, absent without tracking. */
  intervalMs?: number;
}

/**
 * One stream's filters, tracker and rules. It processes frames one by one, in the order of the stream's partition. It
 * depends only on its state and the frames: the same state and frames give the same ids and events.
 * @example
 * const scene = new Scene('gate', sceneConfigSchema.parse({}), { prefix: 'annotated' });
 */
export class Scene {
  readonly #filters: Filters;
  readonly #clock: SceneClock;
  readonly #tracker: ByteTracker | undefined;
  readonly #events: EventDetector;
  readonly #zones: [string, SceneConfig['zones'][string]][];

  /** @param options.state from {@link Scene.state}; a state of another version is ignored */
  constructor(
    streamId: string,
    config: SceneConfig,
    options: { prefix: string; allowedClasses?: readonly string[] | undefined; state?: string | undefined },
  ) {
    const state = unpack(options.state);
    this.#filters = filtersOf(config, options.allowedClasses);
    this.#zones = Object.entries(config.zones);
    this.#clock = new SceneClock(state?.clock);
    if (tracksObjects(config)) {
      this.#tracker = new ByteTracker(config.tracks ?? DEFAULT_TRACKER, state?.tracker);
    }
    this.#events = new EventDetector(streamId, config, options.prefix, state?.events);
  }

  /** Whether it uses the frames' appearances. */
  get looksAtColours(): boolean {
    return (this.#tracker?.settings.appearance_seconds ?? 0) > 0;
  }

  /** The state as text, for the constructor. Undefined without tracking. */
  get state(): string | undefined {
    if (!this.#tracker) return undefined;
    return pack({
      version: 2,
      clock: this.#clock.state,
      tracker: this.#tracker.state,
      events: this.#events.state,
    });
  }

  /** Processes the stream's next frame. An old one is only filtered: see {@link SceneClock}. */
  update(frame: SceneFrame): SceneResult {
    const { kept, removed } = filterDetections(this.#filters, frame);
    const tracker = this.#tracker;
    if (!tracker) return { detections: this.#placed(kept, frame), removed, events: [] };
    const stamp = { ...frame, session: frame.session ?? '' };
    const tick = this.#clock.take(stamp, tracker.interval, tracker.lostMs);
    if (!tick) return { detections: this.#placed(kept, frame), removed, events: [] };
    const { time, ...setBack } = tick;
    const { ids, tracks, ended, dropped } = tracker.update({
      capturedAt: time,
      detections: kept.map((detection) => ({
        ...detection,
        bbox: shareOf(detection.bbox, frame),
        appearance: frame.appearances?.get(detection),
      })),
    });
    const detections = kept.map((detection, index) => {
      const id = ids[index];
      return id === undefined ? detection : { ...detection, track_id: id };
    });
    const sightings = detections.flatMap((detection, index) => {
      const track = tracks[index];
      return track ? [{ track, detection }] : [];
    });
    const watched = { ...frame, time, sightings, ended: [...ended, ...dropped], lostMs: tracker.lostMs };
    const events = this.#events.update(watched);
    const placed = this.#placed(detections, frame);
    return { detections: placed, removed, events, intervalMs: tracker.interval, ...setBack };
  }

  /** Adds to each detection the zones that it is in. */
  #placed(detections: Detection[], frame: SceneFrame): Detection[] {
    if (this.#zones.length === 0 || detections.length > MAX_ZONED) return detections;
    return detections.map((detection) => {
      const box = relativeBox(detection.bbox, frame);
      const zones = this.#zones.filter(([, zone]) => inZone(zone, box)).map(([name]) => name);
      return zones.length > 0 ? { ...detection, zones: zones.slice(0, MAX_ZONES) } : detection;
    });
  }
}

/** A box in shares of the picture, so that a change of resolution has no effect. */
function shareOf([x1, y1, x2, y2]: Detection['bbox'], { width, height }: SceneFrame): Detection['bbox'] {
  return [x1 / width, y1 / height, x2 / width, y2 / height];
}

/** The state for a Kafka header. It is compressed: the state of a crowd is long and repetitive. */
function pack(state: SceneState): string {
  return deflateRawSync(JSON.stringify(state, packed), { level: 1 }).toString('base64');
}

function unpack(text: string | undefined): SceneState | undefined {
  if (!text) return undefined;
  try {
    const json = inflateRawSync(Buffer.from(text, 'base64'), { maxOutputLength: MAX_STATE_BYTES });
    return sceneStateSchema.safeParse(JSON.parse(json.toString(), unpacked)).data;
  } catch {
    return undefined;
  }
}

function packed(key: string, value: unknown): unknown {
  if (key === 'box') return packBox(value as Track['box']);
  return key === 'appearance' ? Buffer.from(value as Appearance).toString('base64') : value;
}

function unpacked(key: string, value: unknown): unknown {
  if (key === 'box') return unpackBox(value as string);
  return key === 'appearance' ? [...Buffer.from(value as string, 'base64')] : value;
}

/** A track's twenty numbers have single precision: 108 characters hold them exactly. */
function packBox(box: Track['box']): string {
  return Buffer.from(Float32Array.from(box.flat()).buffer).toString('base64');
}

function unpackBox(text: string): number[][] {
  const bytes = Buffer.from(text, 'base64');
  return [0, 1, 2, 3].map((axis) =>
    [0, 1, 2, 3, 4].map((index) => bytes.readFloatLE((5 * axis + index) * 4)),
  );
}
