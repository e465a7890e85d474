import type { DetectedFrame } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import type { MqttConnection } from './mqtt.ts';

// Topics and payloads of Frigate, for the facts that this pipeline knows: https://docs.frigate.video/integrations/mqtt/

type TrackedObject = ReturnType<typeof firstOf>;

interface FrigateMessage {
  type: 'new' | 'update' | 'end';
  before: TrackedObject;
  after: TrackedObject;
  /** The event of this pipeline, unchanged. */
  event: SceneEvent;
}

const MAX_OBJECTS = 10_000;

/**
 * Converts events to Frigate's messages. The events must be in order. The first message of an object is `new`, further
 * ones are `update`, and the one after which the object is in no zone is `end`. This state is in memory only: after a
 * restart an object may be `new` again.
 */
export function createFrigateMessages(): (event: SceneEvent) => FrigateMessage {
  const known = new Map<string, TrackedObject>();
  return (event) => {
    // An event without a track, a count for example, belongs to no object: it gets one of its own.
    const id = event.track_id === undefined ? event.event_id : `${event.stream_id}-${event.track_id}`;
    const last = known.get(id);
    const before = last ?? firstOf(id, event);
    const after = changed(before, event);
    const isOver = after.end_time !== null;
    known.delete(id);
    if (!isOver) known.set(id, after);
    if (known.size > MAX_OBJECTS) known.delete(known.keys().next().value ?? '');
    const isEnd = isOver && event.type === 'left_zone';
    return { type: isEnd ? 'end' : last ? 'update' : 'new', before, after, event };
  };
}

/**
 * Frigate's description of an object, as it was before its first event; times in epoch seconds. Fields that are not
 * known here are left out.
 */
function firstOf(id: string, { at, stream_id, class_name, type, zone }: SceneEvent) {
  const time = at / 1000;
  return {
    id,
    camera: stream_id,
    label: class_name ?? 'object',
    sub_label: null,
    frame_time: time,
    start_time: time,
    end_time: null as number | null,
    false_positive: false,
    stationary: false,
    current_zones: type === 'left_zone' && zone !== undefined ? [zone] : [],
    entered_zones: [] as string[],
    has_snapshot: false,
    has_clip: false,
  };
}

function changed(
  before: TrackedObject,
  { type, at, zone, frames, clip_key, track_id }: SceneEvent,
): TrackedObject {
  const time = at / 1000;
  const others = before.current_zones.filter((name) => name !== zone);
  const isIn = zone !== undefined && type !== 'left_zone';
  const isOver = track_id === undefined || (type === 'left_zone' && others.length === 0);
  return {
    ...before,
    frame_time: time,
    end_time: isOver ? time : null,
    stationary: type === 'stayed_longer',
    current_zones: isIn ? [...others, zone] : others,
    entered_zones: isIn ? [...new Set([...before.entered_zones, zone])] : before.entered_zones,
    has_snapshot: frames.length > 0,
    has_clip: clip_key !== undefined,
  };
}

/** Publishes events in order. @returns undefined once the broker has acknowledged, or the reason why it has not */
export function createMqttReceiver(
  broker: MqttConnection,
  prefix: string,
): (event: SceneEvent) => Promise<string | undefined> {
  const messageOf = createFrigateMessages();
  return (event) => broker.publish(`${prefix}/events`, JSON.stringify(messageOf(event)));
}

/** Frigate's name for objects of any class. */
const ALL = 'all';
/** How long a published count is taken as current, ms: on Lambda other processes publish counts of the same stream. */
const SURE_MS = 30_000;

/**
 * Publishes how many objects of each class a stream shows, as retained messages: `<prefix>/<stream>/<class>` and
 * `<prefix>/<stream>/all`. The count is the median of a batch's frames, so that an object missed in one frame still
 * counts. A count is published when it changes; nothing waits for the broker.
 */
export function createObjectCounts(
  broker: MqttConnection,
  prefix: string,
): (frames: readonly DetectedFrame[]) => void {
  const streams = new Map<string, { published: Map<string, string>; newest: number; since: number }>();
  // After a reconnection the retained messages are read again.
  broker.onConnected(() => streams.clear());
  return (frames) => {
    if (!broker.isConnected()) return;
    for (const [stream, own] of Map.groupBy(frames, ({ streamId }) => streamId)) {
      const newest = Math.max(...own.map(({ capturedAt }) => capturedAt));
      const known = streams.get(stream);
      // Redriven frames are old: they say nothing about the current count.
      if (known && newest < known.newest) continue;
      const isSure = known !== undefined && Date.now() - known.since < SURE_MS;
      const published = isSure ? known.published : new Map<string, string>();
      streams.set(stream, { published, newest, since: isSure ? known.since : Date.now() });
      const counts = mediansOf(own);
      for (const name of new Set([...counts.keys(), ...published.keys()])) {
        const count = String(counts.get(name) ?? 0);
        if (published.get(name) === count) continue;
        broker.retain(`${prefix}/${stream}/${name}`, count);
        published.set(name, count);
      }
      if (isSure) continue;
      // Retained counts may come from another process, for classes that are not seen any more: they must become 0.
      broker.retained(`${prefix}/${stream}`).then(
        (kept) => {
          for (const [name, count] of kept) if (!published.has(name)) published.set(name, count);
        },
        () => streams.delete(stream),
      );
    }
  };
}

function mediansOf(frames: readonly DetectedFrame[]): Map<string, number> {
  const perFrame = frames.map(({ detections }) => {
    const counts = new Map([[ALL, detections.length]]);
    for (const { class_name } of detections) {
      const name = levelOf(class_name);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  });
  const names = new Set([ALL, ...perFrame.flatMap((counts) => [...counts.keys()])]);
  return new Map(
    [...names].map((name) => {
      const sorted = perFrame.map((counts) => counts.get(name) ?? 0).sort((a, b) => a - b);
      return [name, sorted[sorted.length >> 1] ?? 0];
    }),
  );
}

/** Longest level, characters. A topic has 65,535 bytes at most, and every writer to Kafka may choose class names. */
const MAX_LEVEL = 256;

/** A class's name as one level of a topic. Some characters have a meaning there; control characters end connections. */
function levelOf(name: string): string {
  return name.slice(0, MAX_LEVEL).replace(/[/+#\p{Cc}]/gu, '_') || '_';
}
