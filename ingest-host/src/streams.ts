import { fileURLToPath } from 'node:url';
import { expandVariables } from '@video-pipeline/config';
import { isPossibleTime, isStreamId } from '@video-pipeline/frame';
import {
  readStreamList,
  SPARSE_FRAMES_MS,
  type StreamProblem,
  StreamsError,
  sceneConfigSchema,
  streamName,
  tracksObjects,
} from '@video-pipeline/scene';
import { z } from 'zod';
import { type ActiveHours, HOURS_PATTERN, isTimeZone } from './active-hours.ts';
import type { JpegShape } from './jpeg.ts';
import type { MotionSettings } from './motion-gate.ts';
import { ffmpegOptions } from './source/ffmpeg-options.ts';
import { HWACCELS, type SourceOptions, TRANSPORTS } from './source/source.ts';

type SpecOptions = Pick<SourceOptions, 'transport' | 'hwaccel' | 'ffmpeg' | 'period' | 'hosts' | 'track'>;

/** One camera of the streams file. */
export interface StreamSpec extends JpegShape, SpecOptions {
  id: string;
  /** rtsp(s), http(s), srt, rtmp, file URL or path. It may hold credentials, so it must be redacted before logging. */
  url: string;
  /** Further URLs of the same scene, in this order: each is read while those before it give no pictures. */
  fallback?: readonly string[] | undefined;
  /** How often the first URL is tried while a fallback is read, seconds; default 60. */
  fallbackSeconds?: number;
  /** Frames a second. */
  frameRate: number;
  /** Initial JPEG quality, 1..100. */
  quality: number;
  /** A source without a packet for this long is opened again, seconds; default STALL_SECONDS. */
  stallSeconds?: number;
  /** Time of capture of a file's first picture, epoch milliseconds; default: from its name, its container, or now. */
  fileStart?: number;
  /** Default: always. */
  activeHours?: ActiveHours;
  /** Default: every frame is sent. */
  motion?: MotionSettings;
  /** When frames must be thinned, streams with a lower priority lose frames first; default 0. */
  priority?: number | undefined;
}

const part = z.number().min(0).max(1);
const point = z.tuple([part, part]);
const polygon = z.array(point).min(3).max(100);
const sourceUrl = z
  .string()
  .min(1, 'must not be empty')
  .transform(withSecrets)
  .refine(isNoHost, 'must be file:///folder/name with three slashes, or a path');
/** One entry of the streams file, as ingest reads it. */
export const streamEntrySchema = z.strictObject({
  id: z.string().refine(isStreamId, 'must be letters, digits, ".", "_", "-", at most 128 of them'),
  // Name in the console.
  name: streamName.optional(),
  url: sourceUrl,
  fallback: z.array(sourceUrl).min(1).max(8).optional(),
  fallback_seconds: z.number().min(0.1).max(86_400).optional(),
  frame_rate: z.number().min(0.01).max(240).optional(),
  quality: z.int().min(1).max(100).optional(),
  transport: z.enum(TRANSPORTS).optional(),
  hwaccel: z.enum(HWACCELS).optional(),
  ffmpeg: ffmpegOptions.optional(),
  // Zones and lines of the scene are shares of the frame, that is of this region.
  region: z
    .tuple([part, part, part, part])
    .refine(([x1, y1, x2, y2]) => x1 < x2 && y1 < y2, 'must be [x1, y1, x2, y2] with x1 < x2 and y1 < y2')
    .optional(),
  masks: z.array(polygon).max(50).optional(),
  deinterlace: z.boolean().optional(),
  square_pixels: z.boolean().optional(),
  max_width: z.int().min(16).max(16_384).optional(),
  period: z.number().min(0.05).max(3600).optional(),
  stall_seconds: z.number().min(0.1).max(3600).optional(),
  hosts: z.array(z.string().regex(/^[^/@\s]+$/, 'must be host or host:port')).optional(),
  track: z.int().min(0).max(31).optional(),
  file_start: z.iso
    .datetime({ offset: true, error: 'must be a time such as 2026-11-25T07:00:00Z' })
    .refine((time) => isPossibleTime(Date.parse(time)), 'must be from 2000 to a day from now')
    .optional(),
  active_hours: z.string().regex(HOURS_PATTERN, 'must be HH:MM-HH:MM').optional(),
  time_zone: z.string().refine(isTimeZone, 'must be a time zone such as Europe/Paris').optional(),
  motion_threshold: z
    .union([z.literal('safe'), part], { error: 'must be a number from 0 to 1, or safe' })
    .optional(),
  priority: z.int().min(0).max(100).optional(),
  // A disabled stream stays in the list, but is not read.
  disabled: z.boolean().optional(),
  // Used by detect only. It is checked here to report errors before the first frame.
  scene: sceneConfigSchema.optional(),
});

/** In `file://yard.mp4` the file's name is a host. The URL is checked here, since FFmpeg is not needed for it. */
function isNoHost(url: string): boolean {
  try {
    return !url.startsWith('file:') || fileURLToPath(url) !== '';
  } catch {
    return false;
  }
}

function withSecrets(url: string, context: z.RefinementCtx<string>): string {
  return expandVariables(url, (name) => context.addIssue(`needs the variable ${name}, which is not set`));
}

interface StreamDefaults {
  frameRate: number;
  quality: number;
  /** Default: every frame is sent. A stream with its own threshold then sends a still scene every 10 s. */
  motion?: MotionSettings;
}

const NO_GATE: MotionSettings = { threshold: 0, keepaliveSeconds: 10 };

/** The valid streams of a list, and the problems of the others. */
export interface StreamSpecs {
  specs: StreamSpec[];
  problems: StreamProblem[];
  /** Streams with tracking whose frame rate is too low for it: their ids and rates. */
  lowRates: Record<string, number>;
}

/**
 * Reads a list of streams, YAML or JSON: `[{id, url, frame_rate?, quality?, transport?, region?, max_width?,
 * active_hours?, time_zone?, motion_threshold?, priority?, disabled?, scene?}, ...]`. Disabled streams are left out. An
 * error in one stream does not affect the others.
 * @param where name of the variable or file, for errors
 * @throws StreamsError when the text is no list, or when no stream is valid; it names line and field
 * @example
 * const { specs } = parseStreams('[{ id: gate, url: rtsp://camera/1 }]', { frameRate: 10, quality: 85 }, 'streams.yaml');
 * specs.map(({ id, frameRate }) => [id, frameRate]); // => [['gate', 10]]
 */
export function parseStreams(text: string, defaults: StreamDefaults, where: string): StreamSpecs {
  const { entries, problems } = readStreamList(text, streamEntrySchema, where);
  const named = problems.map(({ id, text }) => ({ id, text: `${where}: ${text}` }));
  if (entries.length === 0 && problems.length > 0)
    throw new StreamsError(`${where}: ${problems.map(({ text }) => text).join('; ')}`);
  const enabled = entries.filter(({ disabled }) => !disabled);
  const specs = enabled.map((item) => withDefaults(item, defaults));
  const tracked = new Set(enabled.flatMap(({ id, scene }) => (scene && tracksObjects(scene) ? [id] : [])));
  const sparse = specs.filter((spec) => tracked.has(spec.id) && spec.frameRate <= 1000 / SPARSE_FRAMES_MS);
  const lowRates = Object.fromEntries(sparse.map(({ id, frameRate }) => [id, frameRate]));
  return { specs, problems: named, lowRates };
}

function withDefaults(item: z.output<typeof streamEntrySchema>, defaults: StreamDefaults): StreamSpec {
  const { name, disabled, scene, fallback_seconds, frame_rate, square_pixels, max_width, ...rest } = item;
  const { stall_seconds, file_start, active_hours, time_zone, motion_threshold, ...same } = rest;
  const { threshold: usual, keepaliveSeconds } = defaults.motion ?? NO_GATE;
  const threshold = motion_threshold ?? usual;
  return {
    ...same,
    frameRate: frame_rate ?? defaults.frameRate,
    quality: item.quality ?? defaults.quality,
    transport: item.transport ?? 'tcp',
    ...(fallback_seconds && { fallbackSeconds: fallback_seconds }),
    ...(square_pixels !== undefined && { squarePixels: square_pixels }),
    ...(max_width && { maxWidth: max_width }),
    ...(stall_seconds && { stallSeconds: stall_seconds }),
    ...(file_start && { fileStart: Date.parse(file_start) }),
    ...(active_hours && { activeHours: { span: active_hours, timeZone: time_zone ?? 'UTC' } }),
    ...((threshold === 'safe' || threshold > 0) && { motion: { threshold, keepaliveSeconds } }),
  };
}
