import { annotatedKey, type Detection, type Frame } from '@video-pipeline/frame';
import { z } from 'zod';
import type { Rule, SceneConfig } from './config.ts';
import { eventId, type SceneEvent } from './event.ts';
import {
  type Change,
  crossingSchema,
  type Debounce,
  type FrameRef,
  firstSide,
  leaveLine,
  leaveZone,
  observeLine,
  observeZone,
  type Passage,
  presenceSchema,
} from './presence.ts';
import type { Track } from './track.ts';
import {
  bottomCentre,
  clearOfBorder,
  inZone,
  type RelativeBox,
  relativeBox,
  type Segment,
  sizeOf,
} from './zones.ts';

/** State of the rules, as JSON: by zone or line, then by track. */
export const eventStateSchema = z.object({
  zones: z.record(z.string(), z.record(z.string(), presenceSchema)),
  lines: z.record(z.string(), z.record(z.string(), crossingSchema)),
  /** Classes of the tracks named above. */
  classes: z.record(z.string(), z.string()),
  /** Reported rules `count_over`. `under`: when the count fell back to the limit, ms of the scene's time. */
  over: z.array(z.object({ rule: z.string(), under: z.number().optional() })),
});
type EventState = z.infer<typeof eventStateSchema>;

/** Name of the zone for the whole picture. A user's zone can't have this name. */
const EVERYWHERE = '*';

interface Seen {
  trackId: string;
  /** False for an object that is seen for the first time. */
  known: boolean;
  box: RelativeBox;
}

interface TrackedFrame extends Pick<Frame, 'capturedAt' | 'frameNumber' | 'width' | 'height'> {
  /** The scene's own time, milliseconds. */
  time: number;
  sightings: readonly { track: Track; detection: Detection }[];
  /** Tracks that ended with this frame. */
  ended: readonly Track[];
  /** How long an unseen object is remembered, milliseconds. */
  lostMs: number;
}

/**
 * Evaluates the rules of one stream. An object counts as inside a zone once all frames for `debounce_seconds` have
 * shown it there; the time is that of the first of these frames. So flicker at a border gives no events. An object that
 * first appears inside a zone has entered it. An object that is lost inside a zone has left it at its last sighting.
 * All times are capture times.
 */
export class EventDetector {
  readonly #streamId: string;
  readonly #config: SceneConfig;
  readonly #prefix: string;
  readonly #state: EventState;

  /** @param prefix top folder of annotated frames in S3, for the keys of the frames that prove an event */
  constructor(
    streamId: string,
    config: SceneConfig,
    prefix: string,
    state: EventState = { zones: {}, lines: {}, classes: {}, over: [] },
  ) {
    this.#streamId = streamId;
    this.#config = config;
    this.#prefix = prefix;
    this.#state = withoutInherited(state);
  }

  get state(): EventState {
    return this.#state;
  }

  /** Processes the stream's next frame. @returns events in the order of the kinds of rules, then of the tracks */
  update(frame: TrackedFrame): SceneEvent[] {
    const now = { at: frame.capturedAt, number: frame.frameNumber, time: frame.time };
    const seen = frame.sightings.map(({ track, detection }): Seen => {
      const known = track.status === 'tracked';
      if (known) this.#state.classes[track.id] = track.class_name;
      return { trackId: track.id, known, box: relativeBox(detection.bbox, frame) };
    });
    const known = seen.filter((one) => one.known);
    const events = [...this.#watchZones(known, now), ...this.#watchLines(seen, now)];
    for (const { id } of frame.ended) events.push(...this.#forget(id));
    return [...events, ...this.#watchCounts(known, now, frame.lostMs)];
  }

  #watchZones(seen: Seen[], now: FrameRef): SceneEvent[] {
    return this.#zones().flatMap((zone) => {
      this.#state.zones[zone] ??= bare({});
      const tracks = this.#state.zones[zone];
      return seen.flatMap(({ trackId, box }) => {
        tracks[trackId] ??= { inside: false, told: [] };
        const presence = tracks[trackId];
        const { where, debounce } = this.#membership(zone, box);
        const change = observeZone(presence, where, now, debounce);
        const events = change ? this.#zoneEvents(zone, trackId, change) : [];
        return where.inside ? [...events, ...this.#stays(zone, trackId, now)] : events;
      });
    });
  }

  #membership(name: string, box: RelativeBox) {
    const zone = this.#config.zones[name];
    // The whole picture has no border at which boxes could flicker.
    if (!zone)
      return { where: { inside: true, clear: () => true }, debounce: { debounceMs: 0, hysteresis: 0 } };
    const debounce = debounceOf(zone);
    const clear = () => clearOfBorder(zone, box, debounce.hysteresis);
    return { where: { inside: inZone(zone, box), clear }, debounce };
  }

  #zoneEvents(zone: string, trackId: string, { inside, at, before }: Change): SceneEvent[] {
    return this.#rules(inside ? 'entered_zone' : 'left_zone', trackId)
      .filter((rule) => rule.zone === zone)
      .map((rule) => this.#event(rule, at, [before, at], trackId, { zone }));
  }

  #stays(zone: string, trackId: string, now: FrameRef): SceneEvent[] {
    const presence = this.#state.zones[zone]?.[trackId];
    if (!presence?.inside || !presence.since) return [];
    const { since, told: reported } = presence;
    const seconds = (now.time - since.time) / 1000;
    const due = this.#rules('stayed_longer', trackId).filter(
      (rule) => rule.zone === zone && seconds > rule.seconds && !reported.includes(rule.name),
    );
    reported.push(...due.map((rule) => rule.name));
    return due.map((rule) => this.#event(rule, now, [since, now], trackId, { zone, seconds }));
  }

  /** Includes objects that were seen once: no rule reports them yet, but they may cross the line in the next frame. */
  #watchLines(seen: Seen[], now: FrameRef): SceneEvent[] {
    return Object.entries(this.#config.lines).flatMap(([line, config]) => {
      const segment: Segment = [config.from, config.to];
      this.#state.lines[line] ??= bare({});
      const tracks = this.#state.lines[line];
      return seen.flatMap(({ trackId, box }) => {
        const point = bottomCentre(box);
        const known = tracks[trackId];
        if (!known) {
          const first = firstSide(segment, point, now);
          if (first) tracks[trackId] = first;
          return [];
        }
        const place = { point, size: sizeOf(box), frame: now };
        return this.#crossings(line, trackId, observeLine(known, segment, place, debounceOf(config)));
      });
    });
  }

  #crossings(line: string, trackId: string, passage: Passage | undefined): SceneEvent[] {
    if (!passage) return [];
    const { direction, at, before } = passage;
    return this.#rules('line_crossed', trackId)
      .filter((rule) => rule.line === line && [direction, 'any'].includes(rule.direction))
      .map((rule) => this.#event(rule, at, [before, at], trackId, { line, direction }));
  }

  /** Reports a count over the limit. It is reported again after it was within the limit as long as objects may hide. */
  #watchCounts(seen: Seen[], now: FrameRef, lostMs: number): SceneEvent[] {
    const visible = new Set(seen.map(({ trackId }) => trackId));
    return this.#config.events.flatMap((rule) => {
      if (rule.type !== 'count_over') return [];
      const count = Object.entries(this.#state.zones[rule.zone ?? EVERYWHERE] ?? {}).filter(
        ([trackId, { inside }]) =>
          inside && (rule.include_lost || visible.has(trackId)) && this.#concerns(rule, trackId),
      ).length;
      const reported = this.#state.over.find((one) => one.rule === rule.name);
      if (count > rule.count) {
        if (reported) {
          reported.under = undefined;
          return [];
        }
        this.#state.over.push({ rule: rule.name });
        const where = rule.zone === undefined ? {} : { zone: rule.zone };
        return [this.#event(rule, now, [now], undefined, { ...where, count })];
      }
      if (reported) {
        reported.under ??= now.time;
        // An object that was hidden for a moment is not a new one.
        const forgotten = rule.include_lost || now.time - reported.under >= lostMs;
        if (forgotten) this.#state.over.splice(this.#state.over.indexOf(reported), 1);
      }
      return [];
    });
  }

  /** Removes an object that left from all zones and lines. @returns the events that this confirms */
  #forget(trackId: string): SceneEvent[] {
    const left = Object.entries(this.#state.zones).flatMap(([zone, tracks]) => {
      const changes = tracks[trackId] ? leaveZone(tracks[trackId]) : [];
      delete tracks[trackId];
      return changes.flatMap((change) => this.#zoneEvents(zone, trackId, change));
    });
    const crossed = Object.entries(this.#state.lines).flatMap(([line, tracks]) => {
      const passage = tracks[trackId] && leaveLine(tracks[trackId]);
      delete tracks[trackId];
      return this.#crossings(line, trackId, passage);
    });
    delete this.#state.classes[trackId];
    return [...left, ...crossed];
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

function debounceOf(place: { debounce_seconds: number; hysteresis: number }): Debounce {
  return { debounceMs: place.debounce_seconds * 1000, hysteresis: place.hysteresis };
}

/** The same record without a prototype: a zone, or a forged track, may be named `constructor`. */
function bare<Value>(record: Record<string, Value>): Record<string, Value> {
  return Object.assign(Object.create(null), record);
}

function withoutInherited({ zones, lines, classes, over }: EventState): EventState {
  const each = <Value>(records: Record<string, Record<string, Value>>) =>
    bare(Object.fromEntries(Object.entries(records).map(([name, record]) => [name, bare(record)])));
  return { zones: each(zones), lines: each(lines), classes: bare(classes), over };
}
