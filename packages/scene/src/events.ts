import { annotatedKey, type Detection } from '@video-pipeline/frame';
import { z } from 'zod';
import type { Track } from './bytetrack.ts';
import type { Rule, SceneConfig } from './config.ts';
import { eventId, type SceneEvent } from './event.ts';
import {
  type Change,
  crossingSchema,
  type FrameRef,
  firstSide,
  observeLine,
  observeZone,
  presenceSchema,
} from './presence.ts';
import { bottomCentre, inZone, type RelativeBox, relativeBox } from './zones.ts';

/** A detection that belongs to a track. */
export interface Sighting {
  track_id: string;
  detection: Detection;
}

/** What the rules remember, as JSON: by zone or line, then by track. */
export const eventStateSchema = z.object({
  zones: z.record(z.string(), z.record(z.string(), presenceSchema)),
  lines: z.record(z.string(), z.record(z.string(), crossingSchema)),
  /** Classes of the tracks named above. */
  classes: z.record(z.string(), z.string()),
  /** Rules `count_over` whose count is over. */
  over: z.array(z.string()),
});
export type EventState = z.infer<typeof eventStateSchema>;

/** Name of the zone that is the whole picture. No zone of a user's can have it. */
const EVERYWHERE = '*';

export interface SeenFrame {
  capturedAt: number;
  frameNumber: number;
  width: number;
  height: number;
  sightings: readonly Sighting[];
  /** Tracks given up with this frame. */
  ended: readonly Track[];
}

/**
 * Watches the rules of one stream. An object is in a zone from the first frame that shows it there, once all frames for
 * `debounce_seconds` have; so short flickers at a border are no events. An object that first appears in a zone has
 * entered it; one that is lost in a zone has left it, when it was last seen. Time is that of capture.
 */
export class EventDetector {
  readonly #streamId: string;
  readonly #config: SceneConfig;
  readonly #prefix: string;
  readonly #state: EventState;

  /** @param prefix the folder of annotated frames in S3, for the proving frames' keys */
  constructor(
    streamId: string,
    config: SceneConfig,
    prefix: string,
    state: EventState = { zones: {}, lines: {}, classes: {}, over: [] },
  ) {
    this.#streamId = streamId;
    this.#config = config;
    this.#prefix = prefix;
    this.#state = state;
  }

  get state(): EventState {
    return this.#state;
  }

  /** Takes the stream's next frame. @returns events in the order of the rules' kinds, then of the tracks */
  update(frame: SeenFrame): SceneEvent[] {
    const now = { at: frame.capturedAt, number: frame.frameNumber };
    const seen = frame.sightings.map(({ track_id, detection }) => {
      this.#state.classes[track_id] = detection.class_name;
      return { trackId: track_id, box: relativeBox(detection.bbox, frame) };
    });
    const events = [...this.#watchZones(seen, now), ...this.#watchLines(seen, now)];
    for (const { id } of frame.ended) events.push(...this.#forget(id));
    return [...events, ...this.#watchCounts(now)];
  }

  #watchZones(seen: { trackId: string; box: RelativeBox }[], now: FrameRef): SceneEvent[] {
    return this.#zones().flatMap((zone) => {
      this.#state.zones[zone] ??= {};
      const tracks = this.#state.zones[zone];
      return seen.flatMap(({ trackId, box }) => {
        tracks[trackId] ??= { inside: false, told: [] };
        const presence = tracks[trackId];
        const { inside, debounceMs } = this.#membership(zone, box);
        const change = observeZone(presence, inside, now, debounceMs);
        const events = change ? this.#zoneEvents(zone, trackId, change) : [];
        return inside ? [...events, ...this.#stays(zone, trackId, now)] : events;
      });
    });
  }

  #membership(name: string, box: RelativeBox): { inside: boolean; debounceMs: number } {
    const zone = this.#config.zones[name];
    // The whole picture has no border to flicker at.
    return zone
      ? { inside: inZone(zone, box), debounceMs: zone.debounce_seconds * 1000 }
      : { inside: true, debounceMs: 0 };
  }

  #zoneEvents(zone: string, trackId: string, { inside, at, before }: Change): SceneEvent[] {
    return this.#rules(inside ? 'entered_zone' : 'left_zone', trackId)
      .filter((rule) => rule.zone === zone)
      .map((rule) => this.#event(rule, at, [before, at], trackId, { zone }));
  }

  #stays(zone: string, trackId: string, now: FrameRef): SceneEvent[] {
    const presence = this.#state.zones[zone]?.[trackId];
    if (!presence?.inside || !presence.since) return [];
    const { since, told } = presence;
    const seconds = (now.at - since.at) / 1000;
    const due = this.#rules('stayed_longer', trackId).filter(
      (rule) => rule.zone === zone && seconds > rule.seconds && !told.includes(rule.name),
    );
    told.push(...due.map((rule) => rule.name));
    return due.map((rule) => this.#event(rule, now, [since, now], trackId, { zone, seconds }));
  }

  #watchLines(seen: { trackId: string; box: RelativeBox }[], now: FrameRef): SceneEvent[] {
    return Object.entries(this.#config.lines).flatMap(([line, { from, to, debounce_seconds }]) => {
      this.#state.lines[line] ??= {};
      const tracks = this.#state.lines[line];
      return seen.flatMap(({ trackId, box }) => {
        const point = bottomCentre(box);
        const known = tracks[trackId];
        if (!known) {
          const first = firstSide([from, to], point, now);
          if (first) tracks[trackId] = first;
          return [];
        }
        const over = observeLine(known, [from, to], point, now, debounce_seconds * 1000);
        if (!over) return [];
        const { direction, at, before } = over;
        return this.#rules('line_crossed', trackId)
          .filter((rule) => rule.line === line && [direction, 'any'].includes(rule.direction))
          .map((rule) => this.#event(rule, at, [before, at], trackId, { line, direction }));
      });
    });
  }

  #watchCounts(now: FrameRef): SceneEvent[] {
    return this.#config.events.flatMap((rule) => {
      if (rule.type !== 'count_over') return [];
      const count = Object.entries(this.#state.zones[rule.zone ?? EVERYWHERE] ?? {}).filter(
        ([trackId, { inside }]) => inside && this.#concerns(rule, trackId),
      ).length;
      const { over } = this.#state;
      const before = over.indexOf(rule.name);
      if (count > rule.count === before >= 0) return [];
      if (before >= 0) {
        over.splice(before, 1);
        return [];
      }
      over.push(rule.name);
      const where = rule.zone === undefined ? {} : { zone: rule.zone };
      return [this.#event(rule, now, [now], undefined, { ...where, count })];
    });
  }

  /** An object that is gone is in no zone any more. */
  #forget(trackId: string): SceneEvent[] {
    const events = Object.entries(this.#state.zones).flatMap(([zone, tracks]) => {
      const { inside, change, last } = tracks[trackId] ?? { inside: false };
      delete tracks[trackId];
      const at = change ?? last;
      return inside && at ? this.#zoneEvents(zone, trackId, { inside: false, at, before: last }) : [];
    });
    for (const tracks of Object.values(this.#state.lines)) delete tracks[trackId];
    delete this.#state.classes[trackId];
    return events;
  }

  #zones(): string[] {
    const everywhere = this.#config.events.some((rule) => rule.type === 'count_over' && !rule.zone);
    return [...Object.keys(this.#config.zones), ...(everywhere ? [EVERYWHERE] : [])];
  }

  #rules<Type extends Rule['type']>(type: Type, trackId: string): Extract<Rule, { type: Type }>[] {
    return this.#config.events.filter(
      (rule): rule is Extract<Rule, { type: Type }> => rule.type === type && this.#concerns(rule, trackId),
    );
  }

  #concerns(rule: Rule, trackId: string): boolean {
    return rule.classes?.includes(this.#state.classes[trackId] ?? '') ?? true;
  }

  #event(
    rule: Rule,
    { at }: FrameRef,
    proof: (FrameRef | undefined)[],
    trackId: string | undefined,
    facts: Pick<Partial<SceneEvent>, 'zone' | 'line' | 'direction' | 'seconds' | 'count'>,
  ): SceneEvent {
    const keys = proof.flatMap((frame) => (frame ? [this.#keyOf(frame)] : []));
    const who = trackId === undefined ? {} : { track_id: trackId, class_name: this.#state.classes[trackId] };
    return {
      event_id: eventId(this.#streamId, rule.name, at, trackId),
      type: rule.type,
      rule: rule.name,
      stream_id: this.#streamId,
      at,
      ...who,
      ...facts,
      frames: [...new Set(keys)],
    };
  }

  #keyOf({ at, number }: FrameRef): string {
    return annotatedKey(this.#prefix, { streamId: this.#streamId, capturedAt: at, frameNumber: number });
  }
}
