import {
  type Checkpoint,
  checkpointOf,
  clipKey,
  type DetectedFrame,
  type MSKEvent,
  recordsOf,
} from '@video-pipeline/frame';
import type { Producer, Tail } from '@video-pipeline/kafka';
import {
  type Filtered,
  parseSceneEvent,
  Scene,
  type SceneConfig,
  type SceneEvent,
  type SceneResult,
  SPARSE_FRAMES_MS,
  sceneConfigSchema,
  tracksObjects,
} from '@video-pipeline/scene';
import { inParallel } from '@video-pipeline/storage';
import { emitMetrics, type Logger, rateOf } from '@video-pipeline/telemetry';
import { appearancesOf } from './appearances.ts';
import { createCheckpointCache, type OffsetRange, offsetRanges, topicPartition } from './checkpoint-cache.ts';
import { STREAM_CONCURRENCY } from './frame-concurrency.ts';
import type { PublishedFrame } from './publish.ts';
import { byStream, type Received } from './records.ts';

/** A batch after filtering and tracking, with the events found in it. */
interface ProcessedBatch {
  frames: Received<PublishedFrame>[];
  events: SceneEvent[];
}

/** Filters, tracks and events of all streams, across batches. */
export interface Scenes {
  /** For each stream whose configuration names a model: that model. */
  models(): Promise<ReadonlyMap<string, string>>;
  /** Processes the frames of a batch, each stream's in order. The same batch again gives the same result. */
  process(event: MSKEvent, detected: readonly Received<DetectedFrame>[]): Promise<ProcessedBatch>;
  /** Publishes those events that are not on the topic yet; resolves once every in-sync replica has them. */
  publishEvents(events: readonly SceneEvent[]): Promise<void>;
}

interface ScenesDependencies {
  /** The current configuration, by stream; called several times for each batch. */
  configs: () => ReadonlyMap<string, SceneConfig> | Promise<ReadonlyMap<string, SceneConfig>>;
  /** Classes for streams that do not configure their own. */
  allowedClasses: readonly string[] | undefined;
  /** First folder of annotated frames. */
  prefix: string;
  detectionsTopic: string;
  eventsTopic: string;
  /** Whether each event gets a clip. The event then carries the clip's key. */
  clips: boolean;
  tail: Pick<Tail, 'newest'>;
  producer: Pick<Producer, 'send'>;
  logger: Pick<Logger, 'warn'>;
}

/** How many records of `detections` are read back for the state of a stream that is new to this process. */
const LOOK_BACK = 1_000;
/** How many more records are read for a newer checkpoint: the first one found may be old, from a redriven record. */
const LOOK_FURTHER = 25;
/** How many records of `events` are read back for the ids that are published already. */
const LOOK_BACK_EVENTS = 500;
/** The state of a stream that was never seen before. */
const NO_STATE = '';

/** The configuration of a stream that the streams file does not name. */
const PLAIN = sceneConfigSchema.parse({});

export function createScenes(dependencies: ScenesDependencies): Scenes {
  const { configs, allowedClasses, prefix, eventsTopic, clips, producer, logger } = dependencies;
  const checkpoints = createCheckpointCache();
  /** Streams whose frame rate was found too low to track fast objects. */
  const sparse = new Set<string>();

  /** Logs what the events do not show: a clock that was set back, and a frame rate too low for tracking. */
  function reportTime(streamId: string, { capturedAt, frameNumber }: DetectedFrame, seen: SceneResult): void {
    if (seen.setBackMs !== undefined) {
      logger.warn('the clock of the camera or its host was set back; tracks are kept', {
        stream: streamId,
        frame: frameNumber,
        captured_at: new Date(capturedAt).toISOString(),
        seconds: Math.round(seen.setBackMs / 1000),
      });
      emitMetrics('detect', streamId, { ClockSetBack: 1 });
    }
    const { intervalMs = 0 } = seen;
    if (intervalMs < SPARSE_FRAMES_MS) sparse.delete(streamId);
    else if (!sparse.has(streamId)) {
      sparse.add(streamId);
      logger.warn('the frame rate is too low to track fast objects: raise FRAME_RATE', {
        stream: streamId,
        frames_a_second: rateOf(intervalMs),
      });
    }
  }

  /** The scene as it was before the span: from memory, or from `detections` where this process has no state. */
  async function open(streamId: string, span: OffsetRange): Promise<Scene> {
    const config = (await configs()).get(streamId) ?? PLAIN;
    const options = { prefix, allowedClasses };
    if (!tracksObjects(config)) return new Scene(streamId, config, options);
    let state = checkpoints.newest(streamId, span);
    if (state === undefined) {
      state = await lastState(dependencies, streamId, span);
      checkpoints.add(streamId, { source: span.source, offset: span.first - 1, state }, span);
    }
    return new Scene(streamId, config, { ...options, state });
  }

  async function watch(
    scene: Scene,
    frames: readonly Received<DetectedFrame>[],
    span: OffsetRange,
  ): Promise<ProcessedBatch> {
    const removed: Filtered['removed'] = {};
    const events: SceneEvent[] = [];
    const processed: Received<PublishedFrame>[] = [];
    let interval = 0;
    for (const { record, frame } of frames) {
      const appearances = scene.looksAtColours ? await appearancesOf(frame) : undefined;
      const seen = scene.update({ ...frame, appearances });
      reportTime(frame.streamId, frame, seen);
      interval = seen.intervalMs ?? interval;
      events.push(...seen.events);
      for (const [reason, count] of Object.entries(seen.removed) as [keyof typeof removed, number][]) {
        removed[reason] = (removed[reason] ?? 0) + count;
      }
      processed.push({ record, frame: { ...frame, detections: seen.detections } });
    }
    const last = processed.at(-1);
    if (!last) return { frames: [], events };
    if (scene.state !== undefined) {
      last.frame.checkpoint = { source: span.source, offset: span.last, state: scene.state };
      checkpoints.add(last.frame.streamId, last.frame.checkpoint, span);
    }
    if (interval >= SPARSE_FRAMES_MS)
      emitMetrics('detect', last.frame.streamId, { SparseInterval: interval });
    reportFiltered(last.frame.streamId, removed);
    markEvents(processed, events);
    return { frames: processed, events };
  }

  return {
    async models() {
      return new Map(
        [...(await configs())].flatMap(([id, { model }]) => (model ? [[id, model] as const] : [])),
      );
    },

    async process(event, detected) {
      const spans = offsetRanges(recordsOf(event));
      for (const span of spans.values()) checkpoints.startBatch(span);
      const streams = [...byStream(detected)];
      const processed = await inParallel(streams, STREAM_CONCURRENCY, async ([streamId, frames]) => {
        const span = spans.get(topicPartition(frames[0]?.record ?? { topic: '', partition: 0 }));
        if (!span) throw new RangeError(`stream '${streamId}' comes from no partition of the event`);
        return watch(await open(streamId, span), frames, span);
      });
      for (const span of spans.values()) checkpoints.endBatch(span);
      const frames = new Map(processed.flatMap((one) => one.frames.map((frame) => [frame.record, frame])));
      return {
        frames: detected.flatMap(({ record }) => frames.get(record) ?? []),
        events: processed
          .flatMap(({ events }) => events)
          .map((one) => (clips ? { ...one, clip_key: clipKey(one) } : one)),
      };
    },

    async publishEvents(events) {
      const streams = [...Map.groupBy(events, ({ stream_id }) => stream_id)];
      await Promise.all(
        streams.map(async ([streamId, list]) => {
          const known = await publishedEvents(dependencies, streamId);
          const fresh = list.filter(({ event_id }) => !known.has(event_id));
          const messages = fresh.map((one) => ({ key: streamId, value: JSON.stringify(one) }));
          await producer.send({ topic: eventsTopic, messages });
          if (fresh.length > 0) emitMetrics('detect', streamId, { Events: fresh.length });
        }),
      );
    },
  };
}

/** Notes each event on its frame. One that happened in an earlier batch is noted on the last frame, by its time. */
function markEvents(processed: readonly Received<PublishedFrame>[], events: readonly SceneEvent[]): void {
  const earlier = new Set(events.map(({ at }) => at));
  for (const { frame } of processed) {
    const own = events.filter(({ at }) => at === frame.capturedAt);
    if (own.length > 0) frame.events = own.map(({ event_id }) => event_id);
    earlier.delete(frame.capturedAt);
  }
  const last = processed.at(-1);
  if (last && earlier.size > 0) last.frame.earlierEvents = [...earlier];
}

/** The newest state of the stream on `detections` from before the span. */
async function lastState(
  { tail, detectionsTopic }: ScenesDependencies,
  streamId: string,
  { source, first }: OffsetRange,
): Promise<string> {
  let best: Checkpoint | undefined;
  let further = LOOK_FURTHER;
  for await (const record of tail.newest(detectionsTopic, streamId, LOOK_BACK)) {
    const found = record.key?.toString() === streamId ? checkpointOf(record) : undefined;
    // Offsets of another partition can't be compared: the newest state is used.
    const fits = found && (found.source !== source || found.offset < first);
    if (fits && (!best || (best.source === found.source && best.offset < found.offset))) best = found;
    if (best && further-- === 0) break;
  }
  return best?.state ?? NO_STATE;
}

/**
 * Ids of the stream's newest events on the topic. Only the topic is certain: an earlier send, in this process or
 * another, may have reported a failure although the broker stored the events.
 */
async function publishedEvents(
  { tail, eventsTopic }: ScenesDependencies,
  streamId: string,
): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const { key, value } of tail.newest(eventsTopic, streamId, LOOK_BACK_EVENTS)) {
    const event = key?.toString() === streamId ? parseSceneEvent(value) : undefined;
    if (event) ids.add(event.event_id);
  }
  return ids;
}

function reportFiltered(streamId: string, removed: Filtered['removed']): void {
  if (Object.keys(removed).length === 0) return;
  emitMetrics('detect', streamId, {
    FilteredByClass: removed.class ?? 0,
    FilteredByConfidence: removed.confidence ?? 0,
    FilteredByArea: removed.area ?? 0,
    FilteredByZone: removed.zone ?? 0,
    FilteredByOverlap: removed.overlap ?? 0,
  });
}
