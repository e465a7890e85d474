import type { Detection } from '@video-pipeline/frame';
import { z } from 'zod';
import { ByteTracker, DEFAULT_TRACKER, trackerStateSchema } from './bytetrack.ts';
import { filtersOf, type SceneConfig, tracksObjects } from './config.ts';
import type { SceneEvent } from './event.ts';
import { EventDetector, eventStateSchema } from './events.ts';
import { type Filtered, type Filters, filterDetections } from './filters.ts';

/** Everything a scene knows after a frame. The version rises when an older one can't be read any more. */
const sceneStateSchema = z.object({
  version: z.literal(1),
  tracker: trackerStateSchema,
  events: eventStateSchema,
});

export interface SceneFrame {
  /** Epoch ms. */
  capturedAt: number;
  frameNumber: number;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  detections: readonly Detection[];
}

export interface Understood {
  /** What the filters kept, with `track_id` where an object is known. */
  detections: Detection[];
  /** Detections left out, by reason. */
  removed: Filtered['removed'];
  events: SceneEvent[];
}

/**
 * One stream's filters, tracker and rules, frame by frame in the order of the stream's partition. It depends on
 * nothing but its state and the frames: from the same state, the same frames give the same ids and events.
 */
export class Scene {
  readonly #filters: Filters;
  readonly #tracker: ByteTracker | undefined;
  readonly #events: EventDetector;

  /** @param options.state what {@link Scene.state} gave; of no use, a text of another version is no state */
  constructor(
    streamId: string,
    config: SceneConfig,
    options: { prefix: string; allowedClasses?: readonly string[] | undefined; state?: string | undefined },
  ) {
    const state = parseState(options.state);
    this.#filters = filtersOf(config, options.allowedClasses);
    if (tracksObjects(config)) {
      this.#tracker = new ByteTracker(config.tracks ?? DEFAULT_TRACKER, state?.tracker);
    }
    this.#events = new EventDetector(streamId, config, options.prefix, state?.events);
  }

  /** The state as text, for the constructor; undefined where nothing is remembered. */
  get state(): string | undefined {
    if (!this.#tracker) return undefined;
    return JSON.stringify({ version: 1, tracker: this.#tracker.state, events: this.#events.state });
  }

  /** Takes the stream's next frame. One that is not newer than the last is filtered, and no more. */
  update(frame: SceneFrame): Understood {
    const { kept, removed } = filterDetections(this.#filters, frame);
    if (!this.#tracker) return { detections: kept, removed, events: [] };
    const { ids, ended, late } = this.#tracker.update({ capturedAt: frame.capturedAt, detections: kept });
    if (late) return { detections: kept, removed, events: [] };
    const detections = kept.map((detection, index) => {
      const id = ids[index];
      return id === undefined ? detection : { ...detection, track_id: id };
    });
    const sightings = detections.flatMap((detection) =>
      detection.track_id === undefined ? [] : [{ track_id: detection.track_id, detection }],
    );
    return { detections, removed, events: this.#events.update({ ...frame, sightings, ended }) };
  }
}

function parseState(text: string | undefined): z.infer<typeof sceneStateSchema> | undefined {
  if (text === undefined) return undefined;
  try {
    return sceneStateSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
