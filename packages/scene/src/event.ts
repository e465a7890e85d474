import { createHash } from 'node:crypto';
import { isStreamId, MAX_TIME } from '@video-pipeline/frame';
import { z } from 'zod';

/** Longest event that is read: ten of them fit into one PutEvents request of EventBridge, 256 KB. */
const MAX_EVENT_BYTES = 16 * 1024;

/**
 * An event: something that happened in front of a camera. A record of the topic `events` is one as a JSON object.
 * schemas/event.json is made from it, with the descriptions.
 */
export const sceneEventSchema = z.object({
  event_id: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .describe('the same however often the event is delivered'),
  type: z.enum(['entered_zone', 'left_zone', 'stayed_longer', 'line_crossed', 'count_over']),
  rule: z.string().describe("name of the rule, in the stream's scene"),
  stream_id: z.string().refine(isStreamId),
  at: z.int().min(0).max(MAX_TIME).describe('when it happened: capture time of a frame, epoch milliseconds'),
  track_id: z.string().optional().describe("the object's track in its stream; absent for count_over"),
  class_name: z.string().optional().describe('class of the object'),
  zone: z.string().optional().describe('absent if the rule applies to the whole picture'),
  line: z.string().optional().describe('for line_crossed'),
  direction: z.enum(['left', 'right']).optional().describe('as seen along the line from its first point'),
  seconds: z.number().optional().describe('for stayed_longer: how long, seconds'),
  count: z.number().int().optional().describe('for count_over: how many objects'),
  frames: z.array(z.string()).min(1).describe('annotated_key of the frames that show it, the oldest first'),
  clip_key: z
    .string()
    .optional()
    .describe('with EVENT_CLIPS=on: S3 key of its MP4, stored some seconds later'),
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
