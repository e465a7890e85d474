import { isStreamId } from '@video-pipeline/frame';
import { parseStreamList, sceneConfigSchema } from '@video-pipeline/scene';
import { z } from 'zod';
import { TRANSPORTS, type Transport } from './source.ts';

/** One camera, as the list of streams names it. */
export interface StreamSpec {
  id: string;
  /** rtsp(s), http(s), srt, rtmp, file URL or path; may hold credentials, so it is never logged as it is. */
  url: string;
  /** Frames a second. */
  frameRate: number;
  /** JPEG quality to begin with, 1..100. */
  quality: number;
  transport: Transport;
}

const entry = z.strictObject({
  id: z.string().refine(isStreamId, 'must be letters, digits, ".", "_", "-", at most 128 of them'),
  url: z.string().min(1, 'must not be empty'),
  frame_rate: z.number().min(0.01).max(240).optional(),
  quality: z.int().min(1).max(100).optional(),
  transport: z.enum(TRANSPORTS).optional(),
  // Detect's business; what is wrong with it is better said before the first frame.
  scene: sceneConfigSchema.optional(),
});

export interface StreamDefaults {
  frameRate: number;
  quality: number;
}

/**
 * Reads a list of streams, YAML or JSON: `[{id, url, frame_rate?, quality?, transport?, scene?}, ...]`.
 * @param where name of the variable or file, for errors
 * @throws StreamsError naming line and field of everything that is wrong
 */
export function parseStreams(text: string, defaults: StreamDefaults, where: string): StreamSpec[] {
  return parseStreamList(text, entry, where).map((item) => withDefaults(item, defaults));
}

function withDefaults(item: z.output<typeof entry>, defaults: StreamDefaults): StreamSpec {
  return {
    id: item.id,
    url: item.url,
    frameRate: item.frame_rate ?? defaults.frameRate,
    quality: item.quality ?? defaults.quality,
    transport: item.transport ?? 'tcp',
  };
}
