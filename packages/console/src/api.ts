import type { FrameFacts } from '@video-pipeline/frame';
import type { ListedCamera, Point, SceneConfig, SceneEvent, ShapeSettings } from '@video-pipeline/scene';
import type { PartHealth } from '@video-pipeline/telemetry';

export type { FrameFacts, PartHealth, SceneEvent };

/** Types of the JSON that the console's server sends and its page reads. Times are epoch milliseconds, sizes pixels. */

export interface Session {
  /** Whether the console asks for a token. Then the page offers to log out. */
  login: boolean;
  /** Whether stored pictures have their boxes drawn. */
  drawn: boolean;
}

export interface LiveFrame extends FrameFacts {
  /** When the console received it. */
  arrived_at: number;
  /** Frames a second of its stream, over the last seconds. */
  fps: number;
}

/** State of a camera, as ingest reports it. */
export interface CameraStatus {
  /** connecting, flowing, waiting (after an error, to try again), inactive (out of its hours), ended, ... */
  state: string;
  /** Why it is waiting. */
  error?: string;
  /** Whether ingest drops frames of this camera now, since the pipeline is behind. */
  thinned?: boolean;
}

/** A stream that is in the list of streams, or that sends without being listed. */
export interface StreamStatus {
  stream_id: string;
  /** Its display name, if that is not its id. */
  name?: string;
  listed: boolean;
  disabled: boolean;
  camera?: CameraStatus;
}

export interface Health {
  /** The server's clock, so that a page on another machine shows true ages. */
  now: number;
  /** `kafka`, `s3` and each stage; `model` and `ingest` if the console knows their addresses. */
  parts: Readonly<Record<string, PartHealth>>;
  /** Records in `failed/`, all stages. */
  failed: number;
  /** How often an unlisted stream was forgotten, since there were too many of them. */
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

/**
 * `away`: it does not answer. `stopped`: records wait, and none is finished. `behind`: at its own rate, the stage needs
 * more than 10 s for the waiting records.
 */
export type StageState = 'unknown' | 'idle' | 'ok' | 'behind' | 'stopped' | 'away';

export interface Percentiles {
  p50: number;
  p95: number;
}

/** A stage of the pipeline at one time. */
export interface StageSample {
  time: number;
  /** Frames a second that it finishes; `null` when Kafka does not answer. */
  rate: number | null;
  /** Its lag in records; `null` when it is not known. */
  lag: number | null;
  /** From capture to this stage's output, milliseconds; `null` without recent frames. */
  latency: Percentiles | null;
}

export interface StageFlow {
  name: string;
  /** Its task, for people. */
  does: string;
  reads: string | null;
  /** Whether every frame passes this stage on its way to the bucket. */
  carriesFrames: boolean;
  state: StageState;
  /** Records that it moved to `failed/`. */
  failed: number;
  /** Oldest first, the last is now. */
  samples: StageSample[];
}

export interface Flow {
  bucket: string;
  /** In the order in which data passes them. */
  stages: StageFlow[];
}

export interface SearchResult {
  /** Newest first. */
  frames: FrameFacts[];
  /** The cursor of the next page; absent when the whole range was read. */
  cursor?: string;
  /** Number of all matches. Absent on later pages, and as long as not everything is read. */
  total?: number;
  /** Start of the part of the archive that has been read. */
  searched_to: number;
  /** Why nothing may have been found: a name in the query that does not exist, and the names that do. */
  note?: string;
}

/** Number of frames that a search finds, in bins of equal length. */
export interface Histogram {
  from: number;
  bin_ms: number;
  counts: number[];
}

export interface ExportSize {
  frames: number;
  bytes: number;
}

export type StoredEvent = SceneEvent & { reviewed: boolean };

export interface EventsPage {
  /** Newest first. */
  events: StoredEvent[];
  /** The cursor of the next page; absent on the last page. */
  cursor?: string;
  total: number;
}

export interface ReviewDraft {
  events: { at: number; event_id: string }[];
  reviewed: boolean;
}

/** A time without stored frames of a stream, between two of its frames. */
export interface Gap {
  from: number;
  to: number;
  /** Frames that ingest numbered in this time, and that are not stored. */
  missing: number;
  restarted: boolean;
}

/** Stored data over time, of one stream or of all. */
export interface History extends Timeline {
  /** Stream -> stored frames in each bin. */
  stored: Record<string, number[]>;
  /** Only for a single stream. */
  gaps: Gap[];
  /** Newest first. `total_events` is the number of all of them. */
  events: SceneEvent[];
  total_events: number;
  complete: boolean;
}

export interface FailedEntry {
  key: string;
  stage: string;
  /** `unknown` if the record names no stream. */
  stream: string;
  /** Failure code, as in docs/failures.md. */
  code?: string;
  reason: string;
  /** ISO 8601. */
  time: string;
  /** Position of the record in Kafka, `topic-partition-offset`. */
  position: string;
  /** Length of the record's value. */
  bytes: number;
}

export interface FailedPage {
  entries: FailedEntry[];
  cursor?: string;
}

export interface FailedBulk {
  action: 'redrive' | 'delete';
  stage?: string;
  stream?: string;
  code?: string;
  /** Without it, the records are only counted. */
  confirmed?: boolean;
  /** From the answer before: this request continues where that one ended. */
  cursor?: string;
  /** Only records that had failed by then, as an answer before says. Left out: by now. */
  until?: number;
}

export interface FailedBulkResult {
  /** Number of records that were changed, or would be. */
  count: number;
  /** Present when it ended before the last record: another request with it continues. */
  cursor?: string;
  until: number;
  /** Records that could not be put back, with reasons: the first few. */
  problems: string[];
}

export interface Names {
  streams: string[];
  classes: string[];
}

/** Zones and lines of a stream; points relative to the frame, 0..1. */
export interface StreamScene {
  zones: Record<string, Pick<SceneConfig['zones'][string], 'polygon' | 'holes'>>;
  lines: Record<string, { from: Point; to: Point }>;
  /** Rules, each with its zone or line. */
  rules: SceneConfig['events'];
  /** Zones whose detections are left out. */
  excluded: string[];
  /** Whether zones and lines can be saved, since the list of streams is a file. */
  writable: boolean;
}

export type ShapeDraft = {
  name: string;
  /** Whether rules report objects that enter and leave the zone, or cross the line. */
  events: boolean;
} & ({ polygon: Point[] } | { from: Point | undefined; to: Point | undefined }) &
  ShapeSettings;

/** The events that a zone or a line would have given, had it existed before. */
export interface ScenePreview {
  from: number;
  /** Capture time of the last frame that was processed. It is before `to` if there were too many. */
  until: number;
  to: number;
  frames: number;
  /** Number of all events of the zone or line. */
  count: number;
  /** Its newest events, the newest first. */
  events: SceneEvent[];
}

/** A camera of the list of streams. Its URL is shown without the password. */
export type CameraEntry = ListedCamera & { url: string; disabled: boolean };

export interface CameraList {
  cameras: CameraEntry[];
  writable: boolean;
  /** Version of the list. A change that is based on another version is refused. */
  version?: string;
}

export interface CameraDraft {
  id: string;
  name?: string;
  url: string;
  /** Left out: user and password stay as they are. */
  user?: string;
  password?: string;
  frame_rate?: number;
  transport?: string;
  version?: string;
}

export interface CameraTest {
  codec: string;
  width: number;
  height: number;
  /** Frames a second, if more than one frame came. */
  fps?: number;
  bits_per_second?: number;
  /** Its first picture, a JPEG in base64. */
  picture: string;
}
