import { createHash } from 'node:crypto';
import { isStreamId, MAX_TIME } from '@video-pipeline/frame';
import { z } from 'zod';

/** Longest event that is read: ten of them fit into one PutEvents request of EventBridge, 256 KB. */
const MAX_EVENT_BYTES = 16 * 1024;

/** An event: something that happened in front of a camera. A record of the topic `events` is one as a JSON object. */
export const sceneEventSchema = z.object({
  /** Id of the event. It is the same however often its frames are delivered. 32 hexadecimal digits. */
  event_id: z.string().regex(/^[0-9a-f]{32}$/),
  type: z.enum(['entered_zone', 'left_zone', 'stayed_longer', 'line_crossed', 'count_over']),
  /** Name of the rule that found it. */
  rule: z.string(),
  stream_id: z.string().refine(isStreamId),
  /** When it happened: capture time of the frame, epoch milliseconds. */
  at: z.int().min(0).max(MAX_TIME),
  /** The object's track; absent for `count_over`. */
  track_id: z.string().optional(),
  class_name: z.string().optional(),
  /** The zone; absent if the rule applies to the whole picture. */
  zone: z.string().optional(),
  line: z.string().optional(),
  /** To which side, as seen by a person who walks along the line from its first point to its second. */
  direction: z.enum(['left', 'right']).optional(),
  /** How long the object had stayed, seconds. */
  seconds: z.number().optional(),
  /** How many objects there were. */
  count: z.number().int().optional(),
  /** S3 keys of the annotated frames that prove it, the oldest first. */
  frames: z.array(z.string()).min(1),
  /** S3 key of its clip, an MP4, if clips are made. The clip is stored some seconds after the event is published. */
  clip_key: z.string().optional(),
});
export type SceneEvent = z.infer<typeof sceneEventSchema>;

/** Reads a record's value. Undefined when it is no event, or longer than 16 KiB. */
export function parseSceneEvent(value: Buffer | string | null): SceneEvent | undefined {
  if (value === null || Buffer.byteLength(value) > MAX_EVENT_BYTES) return undefined;
  try {
    return sceneEventSchema.safeParse(JSON.parse(String(value))).data;
  } catch {
    return undefined;
  }
}

/** An event's id: 128 bits of SHA-256 over the fields that identify it. */
export function eventId(streamId: string, rule: string, at: number, trackId = ''): string {
  const text = JSON.stringify([streamId, rule, at, trackId]);
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
