import type { Tail } from '@video-pipeline/kafka';
import { parseSceneEvent, type SceneEvent } from '@video-pipeline/scene';
import { cached } from '@video-pipeline/storage';

const NEWEST = 50;
/** Records that are read from the end of a partition, which also has events of other streams. */
const LOOK_BACK = 500;
/** How long an answer is cached, milliseconds: pages then share one request to Kafka. */
const TTL_MS = 1_000;
/** Most streams in the cache. An event has up to 16 KiB, and a page may ask for any stream. */
const MAX_STREAMS = 64;

/** @returns a function that gives a stream's events from the end of the topic, the newest first. @throws TailError */
export function sceneEvents(tail: Tail, topic: string): (streamId: string) => Promise<SceneEvent[]> {
  return cached(
    async (streamId) => {
      const events: SceneEvent[] = [];
      for await (const { key, value } of tail.newest(topic, streamId, LOOK_BACK)) {
        const event = key?.toString() === streamId ? parseSceneEvent(value) : undefined;
        if (event) events.push(event);
        if (events.length === NEWEST) break;
      }
      return events;
    },
    TTL_MS,
    MAX_STREAMS,
  );
}
