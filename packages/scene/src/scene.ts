import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Detection } from '@video-pipeline/frame';
import { z } from 'zod';
import type { Appearance } from './appearance.ts';
import { ByteTracker, DEFAULT_TRACKER, trackerStateSchema } from './bytetrack.ts';
import { filtersOf, type SceneConfig, tracksObjects } from './config.ts';
import type { SceneEvent } from './event.ts';
import { EventDetector, eventStateSchema } from './events.ts';
import { type Filtered, type Filters, filterDetections } from './filters.ts';
import { clockStateSchema, SceneClock } from './scene-clock.ts';
import type { Track } from './track.ts';
import { inZone, relativeBox } from './zones.ts';

/** Everything a scene knows after a frame. The version rises when an older one can't be read any more. */
const sceneStateSchema = z.object({
  version: z.literal(2),
  clock: clockStateSchema,
  tracker: trackerStateSchema,
  events: eventStateSchema,
});
type SceneState = z.infer<typeof sceneStateSchema>;

/** A state with a thousand objects has a tenth of it. */
const MAX_STATE_BYTES = 16 * 1024 * 1024;

/** A record carries the names of zones of so many objects, and of each so many. */
const MAX_ZONED = 256;
const MAX_ZONES = 8;

export interface SceneFrame {
  /** Epoch ms. */
  capturedAt: number;
  frameNumber: number;
  /** The ingest run that numbered the frame; without it, all frames are of one. */
  session?: string | undefined;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  detections: readonly Detection[];
  /** Colours of the detections, of as many as they are known of; see {@link Scene.looksAtColours}. */
  appearances?: ReadonlyMap<Detection, Appearance> | undefined;
}

/** Frames further apart show moving objects too far from where they were to follow each of them, milliseconds. */
export const SPARSE_FRAMES_MS = 1_500;

export interface Understood {
  /** What the filters kept, with `track_id` where an object is known. */
  detections: Detection[];
  /** Detections left out, by reason. */
  removed: Filtered['removed'];
  events: SceneEvent[];
  /** By how much the camera's or its host's clock was set back with this frame, milliseconds. */
  setBackMs?: number;
  /** Usual time between two frames, milliseconds; 0 before the second frame, absent where nothing is tracked. */
  intervalMs?: number;
}

/**
 * One stream's filters, tracker and rules, frame by frame in the order of the stream's partition. It depends on
 * nothing but its state and the frames: from the same state, the same frames give the same ids and events.
 */
export class Scene {
  readonly #filters: Filters;
  readonly #clock: SceneClock;
  readonly #tracker: ByteTracker | undefined;
  readonly #events: EventDetector;
  readonly #zones: [string, SceneConfig['zones'][string]][];

  /** @param options.state what {@link Scene.state} gave; of no use, a text of another version is no state */
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

  /** Whether the frames' appearances are of use. */
  get looksAtColours(): boolean {
    return (this.#tracker?.settings.appearance_seconds ?? 0) > 0;
  }

  /** The state as text, for the constructor; undefined where nothing is remembered. */
  get state(): string | undefined {
    if (!this.#tracker) return undefined;
    return pack({
      version: 2,
      clock: this.#clock.state,
      tracker: this.#tracker.state,
      events: this.#events.state,
    });
  }

  /** Takes the stream's next frame. An old one is filtered, and no more: see {@link SceneClock}. */
  update(frame: SceneFrame): Understood {
    const { kept, removed } = filterDetections(this.#filters, frame);
    const tracker = this.#tracker;
    if (!tracker) return { detections: this.#placed(kept, frame), removed, events: [] };
    const tick = this.#clock.take(
      { ...frame, session: frame.session ?? '' },
      tracker.interval,
      tracker.lostMs,
    );
    if (!tick) return { detections: this.#placed(kept, frame), removed, events: [] };
    const { time, ...told } = tick;
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
    const gone = [...ended, ...dropped];
    const events = this.#events.update({ ...frame, time, sightings, ended: gone, lostMs: tracker.lostMs });
    return {
      detections: this.#placed(detections, frame),
      removed,
      events,
      intervalMs: tracker.interval,
      ...told,
    };
  }

  /** The detections with the zones that each is in. */
  #placed(detections: Detection[], frame: SceneFrame): Detection[] {
    if (this.#zones.length === 0 || detections.length > MAX_ZONED) return detections;
    return detections.map((detection) => {
      const box = relativeBox(detection.bbox, frame);
      const zones = this.#zones.filter(([, zone]) => inZone(zone, box)).map(([name]) => name);
      return zones.length > 0 ? { ...detection, zones: zones.slice(0, MAX_ZONES) } : detection;
    });
  }
}

/** A box in shares of the picture, so that a change of resolution moves nothing. */
function shareOf([x1, y1, x2, y2]: Detection['bbox'], { width, height }: SceneFrame): Detection['bbox'] {
  return [x1 / width, y1 / height, x2 / width, y2 / height];
}

/** As a Kafka header has it: a crowd's state is long, and much of it is the same again and again. */
function pack(state: SceneState): string {
  const text = JSON.stringify(state, packed);
  return deflateRawSync(text, { level: 1 }).toString('base64');
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

/** A track's twenty numbers have single precision: 107 characters say them exactly. */
function packBox(box: Track['box']): string {
  return Buffer.from(Float32Array.from(box.flat()).buffer).toString('base64');
}

function unpackBox(text: string): number[][] {
  const bytes = Buffer.from(text, 'base64');
  return [0, 1, 2, 3].map((axis) =>
    [0, 1, 2, 3, 4].map((index) => bytes.readFloatLE((5 * axis + index) * 4)),
  );
}
