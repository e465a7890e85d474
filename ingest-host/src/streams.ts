import { expandVariables } from '@video-pipeline/config';
import { isStreamId } from '@video-pipeline/frame';
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
import { type FFmpegOptions, ffmpegOptions } from './source/ffmpeg-options.ts';
import { HWACCELS, type Hwaccel, TRANSPORTS, type Transport } from './source/source.ts';

/** One camera, as the list of streams names it. */
export interface StreamSpec extends JpegShape {
  id: string;
  /** rtsp(s), http(s), srt, rtmp, file URL or path; may hold credentials, so it is never logged as it is. */
  url: string;
  /** URLs of the same picture, read in this order while those before give none. */
  fallback?: readonly string[];
  /** So often the first URL is tried while a fallback is read, seconds; default 60. */
  fallbackSeconds?: number;
  /** Frames a second. */
  frameRate: number;
  /** JPEG quality to begin with, 1..100. */
  quality: number;
  transport: Transport;
  /** What decodes; default the CPU. */
  hwaccel?: Hwaccel;
  /** Options of FFmpeg's demuxer and protocol. */
  ffmpeg?: FFmpegOptions;
  /** A source without a packet for so long is opened again, seconds; default STALL_SECONDS. */
  stallSeconds?: number;
  /** How often a snapshot is asked for, seconds; default 1. */
  period?: number;
  /** Hosts beside its own that redirects and lists may lead to: `host` or `host:port`. */
  hosts?: readonly string[];
  /** Number of the video track, from 0; default what FFmpeg takes for the best. */
  track?: number;
  /** When a file's first picture was captured, epoch milliseconds; default what its name says, else its container, else now. */
  fileStart?: number;
  /** Default: always. */
  activeHours?: ActiveHours;
  /** Default: every frame is sent. */
  motion?: MotionSettings;
  /** Where the pipeline can't take all frames in time, a stream with a higher one keeps its own for longer; default 0. */
  priority?: number;
}

const part = z.number().min(0).max(1);
const sourceUrl = z.string().min(1, 'must not be empty').transform(withSecrets);
/** One entry of a list of streams, as ingest reads it. */
export const streamEntrySchema = z.strictObject({
  id: z.string().refine(isStreamId, 'must be letters, digits, ".", "_", "-", at most 128 of them'),
  // What the console calls it.
  name: streamName.optional(),
  url: sourceUrl,
  fallback: z.array(sourceUrl).min(1).max(8).optional(),
  fallback_seconds: z.number().min(0.1).max(86_400).optional(),
  frame_rate: z.number().min(0.01).max(240).optional(),
  quality: z.int().min(1).max(100).optional(),
  transport: z.enum(TRANSPORTS).optional(),
  hwaccel: z.enum(HWACCELS).optional(),
  ffmpeg: ffmpegOptions.optional(),
  // Zones and lines of the scene are parts of the frame, that is of this region.
  region: z
    .tuple([part, part, part, part])
    .refine(([x1, y1, x2, y2]) => x1 < x2 && y1 < y2, 'must be [x1, y1, x2, y2] with x1 < x2 and y1 < y2')
    .optional(),
  masks: z
    .array(
      z
        .array(z.tuple([part, part]))
        .min(3)
        .max(100),
    )
    .max(50)
    .optional(),
  deinterlace: z.boolean().optional(),
  square_pixels: z.boolean().optional(),
  max_width: z.int().min(16).max(16_384).optional(),
  period: z.number().min(0.05).max(3600).optional(),
  stall_seconds: z.number().min(0.1).max(3600).optional(),
  hosts: z.array(z.string().regex(/^[^/@\s]+$/, 'must be host or host:port')).optional(),
  track: z.int().min(0).max(31).optional(),
  file_start: z.iso
    .datetime({ offset: true, error: 'must be a time such as 2026-11-25T07:00:00Z' })
    .optional(),
  active_hours: z.string().regex(HOURS_PATTERN, 'must be HH:MM-HH:MM').optional(),
  time_zone: z.string().refine(isTimeZone, 'must be a time zone such as Europe/Paris').optional(),
  motion_threshold: part.optional(),
  priority: z.int().min(0).max(100).optional(),
  // It stays in the list, and is not read.
  disabled: z.boolean().optional(),
  // Detect's business; what is wrong with it is better said before the first frame.
  scene: sceneConfigSchema.optional(),
});

function withSecrets(url: string, context: z.RefinementCtx<string>): string {
  return expandVariables(url, (name) => context.addIssue(`needs the variable ${name}, which is not set`));
}

export interface StreamDefaults {
  frameRate: number;
  quality: number;
  /** Default: every frame is sent; a stream that names a threshold has its still scenes sent every 10 s. */
  motion?: MotionSettings;
}

const NO_GATE: MotionSettings = { threshold: 0, keepaliveSeconds: 10 };

/** The streams of a list that can be read, and what is wrong with the others. */
export interface StreamSpecs {
  specs: StreamSpec[];
  problems: StreamProblem[];
  /** Streams whose objects are to be followed, with too few frames a second for it. */
  lowRates: Record<string, number>;
}

/**
 * Reads a list of streams, YAML or JSON: `[{id, url, frame_rate?, quality?, transport?, region?, max_width?,
 * active_hours?, time_zone?, motion_threshold?, priority?, disabled?, scene?}, ...]`, without those that are disabled. What is wrong
 * with one of them keeps no other from being read.
 * @param where name of the variable or file, for errors
 * @throws StreamsError for what is no list, or where none of its streams can be read: it names line and field
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
  const { threshold: usual, keepaliveSeconds } = defaults.motion ?? NO_GATE;
  const threshold = item.motion_threshold ?? usual;
  return {
    id: item.id,
    url: item.url,
    ...(item.fallback ? { fallback: item.fallback } : {}),
    ...(item.fallback_seconds ? { fallbackSeconds: item.fallback_seconds } : {}),
    frameRate: item.frame_rate ?? defaults.frameRate,
    quality: item.quality ?? defaults.quality,
    transport: item.transport ?? 'tcp',
    ...(item.hwaccel ? { hwaccel: item.hwaccel } : {}),
    ...(item.ffmpeg ? { ffmpeg: item.ffmpeg } : {}),
    ...(item.region ? { region: item.region } : {}),
    ...(item.masks ? { masks: item.masks } : {}),
    ...(item.deinterlace === undefined ? {} : { deinterlace: item.deinterlace }),
    ...(item.square_pixels === undefined ? {} : { squarePixels: item.square_pixels }),
    ...(item.max_width ? { maxWidth: item.max_width } : {}),
    ...(item.stall_seconds ? { stallSeconds: item.stall_seconds } : {}),
    ...(item.period ? { period: item.period } : {}),
    ...(item.hosts ? { hosts: item.hosts } : {}),
    ...(item.track === undefined ? {} : { track: item.track }),
    ...(item.file_start ? { fileStart: Date.parse(item.file_start) } : {}),
    ...(item.active_hours
      ? { activeHours: { span: item.active_hours, timeZone: item.time_zone ?? 'UTC' } }
      : {}),
    ...(item.priority === undefined ? {} : { priority: item.priority }),
    ...(threshold > 0 ? { motion: { threshold, keepaliveSeconds } } : {}),
  };
}
