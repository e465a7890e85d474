import type { FrameFacts } from '@video-pipeline/frame';
import type { ListedCamera, Point, SceneConfig, SceneEvent, ShapeSettings } from '@video-pipeline/scene';
import type { PartHealth } from '@video-pipeline/telemetry';

export type { FrameFacts, PartHealth, SceneEvent };

/** What the console's server sends and its page reads, as JSON. Times are epoch milliseconds, sizes pixels. */

export interface Session {
  /** Whether the console asks for a token, so that there is a way to log out. */
  login: boolean;
}

/** A frame of the stream as it happens. */
export interface LiveFrame extends FrameFacts {
  /** When the console received it. */
  arrived_at: number;
  /** Frames a second of its stream, over the seconds before. */
  fps: number;
}

/** How a camera is, as ingest says. */
export interface CameraStatus {
  /** connecting, flowing, waiting (after an error, to try again), inactive (out of its hours), ended, ... */
  state: string;
  /** Why it waits. */
  error?: string;
  /** Whether frames are left out of it now, as the pipeline can't take more in time. */
  thinned?: boolean;
}

/** A stream that the list of streams has, or that sends without being there. */
export interface StreamStatus {
  stream_id: string;
  /** What people call it, where that is not its id. */
  name?: string;
  listed: boolean;
  disabled: boolean;
  camera?: CameraStatus;
}

export interface Health {
  /** The server's clock, so that a page on another machine shows true ages. */
  now: number;
  /** `kafka`, `s3` and each stage; `model` and `ingest` where the console is told where they are. */
  parts: Readonly<Record<string, PartHealth>>;
  /** Records in `failed/`, all stages. */
  failed: number;
  /** How often a stream was forgotten that the list of streams doesn't have, as there were too many of them. */
  forgotten: number;
}

/** Detections by class, in bins of equal length. */
export interface Timeline {
  from: number;
  bin_ms: number;
  bins: number;
  /** Class name -> detections in each bin. */
  classes: Record<string, number[]>;
}

/** `away`: it does not answer. `stopped`: records wait and none is finished. `behind`: what waits takes over 10 s at the rate of arrival. */
export type StageState = 'unknown' | 'idle' | 'ok' | 'behind' | 'stopped' | 'away';

export interface Percentiles {
  p50: number;
  p95: number;
}

/** One stage of the pipeline, now. */
export interface StageSample {
  time: number;
  /** Frames a second it finishes; `null` when Kafka can't be asked. */
  rate: number | null;
  /** Records that wait for it; `null` when nobody counts them. */
  lag: number | null;
  /** From capture to this stage's output, milliseconds; `null` when nothing came of late. */
  latency: Percentiles | null;
}

export interface StageFlow {
  name: string;
  /** In words. */
  does: string;
  /** The topic it reads; `null` for what brings frames in. */
  reads: string | null;
  /** Whether every frame goes through it, on its way to the bucket. */
  carriesFrames: boolean;
  state: StageState;
  /** Records it moved to `failed/`. */
  failed: number;
  /** Oldest first, the last is now. */
  samples: StageSample[];
}

export interface Flow {
  bucket: string;
  /** In the order of the data's way. */
  stages: StageFlow[];
}

export interface SearchResult {
  /** Newest first. */
  frames: FrameFacts[];
  /** Where the next page goes on; absent when everything in the range was read. */
  cursor?: string;
  /** All frames that match; absent on later pages, and while not everything is read. */
  total?: number;
  /** How far back the archive has been read. */
  searched_to: number;
  /** Why nothing may have been found: what was asked for does not exist, and what does. */
  note?: string;
}

/** Frames that a search finds, in bins of equal length. */
export interface Histogram {
  from: number;
  bin_ms: number;
  counts: number[];
}

/** What an export with pictures will be, about. */
export interface ExportSize {
  frames: number;
  bytes: number;
}

/** An event as it is kept. */
export type StoredEvent = SceneEvent & { reviewed: boolean };

export interface EventsPage {
  /** Newest first. */
  events: StoredEvent[];
  /** Where the next page goes on; absent on the last. */
  cursor?: string;
  /** All events that match. */
  total: number;
}

/** Marks events as looked at, or as not. */
export interface ReviewDraft {
  events: { at: number; event_id: string }[];
  reviewed: boolean;
}

/** A time without stored frames of a stream, between two frames. */
export interface Gap {
  from: number;
  to: number;
  /** Frames that ingest numbered in it, and that are not stored. */
  missing: number;
  /** Whether ingest began anew in it. */
  restarted: boolean;
}

/** What is stored of one stream or of all over time. */
export interface History extends Timeline {
  /** Stream -> stored frames in each bin. */
  stored: Record<string, number[]>;
  /** Of one stream. */
  gaps: Gap[];
  /** Newest first, and how many there are in all. */
  events: SceneEvent[];
  total_events: number;
  /** Whether all of the range was read. */
  complete: boolean;
}

export interface FailedEntry {
  key: string;
  stage: string;
  /** `unknown` where the record does not say. */
  stream: string;
  /** Its kind, as docs/failures.md names it. */
  code?: string;
  reason: string;
  /** ISO 8601. */
  time: string;
  /** Where the record lay in Kafka, `topic-partition-offset`. */
  position: string;
  /** Length of the record's value. */
  bytes: number;
}

export interface FailedPage {
  entries: FailedEntry[];
  cursor?: string;
}

/** What is done with all failed records that a filter chooses. */
export interface FailedBulk {
  action: 'redrive' | 'delete';
  stage?: string;
  stream?: string;
  code?: string;
  /** Without it, it is only counted what would be done. */
  confirmed?: boolean;
}

export interface FailedBulkResult {
  /** Records done, or that would be. */
  count: number;
  /** Whether there are more, left for the next time. */
  more: boolean;
  /** Those that could not be put back, with why; the first few. */
  problems: string[];
}

/** What can be chosen from in forms. */
export interface Names {
  streams: string[];
  classes: string[];
}

/** What a stream's pictures are divided by; points relative to the frame, 0..1. */
export interface StreamScene {
  zones: Record<string, Pick<SceneConfig['zones'][string], 'polygon' | 'holes'>>;
  lines: Record<string, { from: Point; to: Point }>;
  /** What events tell of, each with its zone or line. */
  rules: SceneConfig['events'];
  /** Zones of which nothing is looked at. */
  excluded: string[];
  /** Whether zones and lines can be saved: the list of streams is a file. */
  writable: boolean;
}

/** A zone or a line to save. */
export type ShapeDraft = {
  name: string;
  /** Whether events shall tell of who enters and leaves the zone, or crosses the line. */
  events: boolean;
} & ({ polygon: Point[] } | { from: Point | undefined; to: Point | undefined }) &
  ShapeSettings;

/** What a zone or a line would have told of, had it been there already. */
export interface ScenePreview {
  from: number;
  /** The last frame that was looked at; before `to` where there were too many. */
  until: number;
  to: number;
  frames: number;
  /** Events that tell of the zone or line, all of them. */
  count: number;
  /** The newest of them, the newest first. */
  events: SceneEvent[];
}

/** A camera of the list of streams, its address without its password. */
export type CameraEntry = ListedCamera & { url: string; disabled: boolean };

export interface CameraList {
  cameras: CameraEntry[];
  writable: boolean;
  /** Of the list: a change made for another one is refused. */
  version?: string;
}

/** A camera to save. */
export interface CameraDraft {
  id: string;
  name?: string;
  url: string;
  /** Left out: as they are. */
  user?: string;
  password?: string;
  frame_rate?: number;
  transport?: string;
  version?: string;
}

/** What a camera sends, as it was tested. */
export interface CameraTest {
  codec: string;
  width: number;
  height: number;
  /** Frames a second, where more than one came. */
  fps?: number;
  bits_per_second?: number;
  /** Its first picture, a JPEG in base64. */
  picture: string;
}
