import type { Tail } from '@video-pipeline/kafka';
import { parseSceneEvent, type SceneEvent } from '@video-pipeline/scene';
import { cached } from '@video-pipeline/storage';

const NEWEST = 50;
/** How far back a partition is read, records: other streams' events lie between. */
const LOOK_BACK = 500;
/** However many pages ask, Kafka is asked so often. */
const TTL_MS = 1_000;
/** Events are up to 16 KiB, and anyone may ask for any stream. */
const MAX_STREAMS = 64;

/** @returns what gives a stream's events, the newest first, from the end of the topic. @throws TailError */
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
