import { createHash } from 'node:crypto';
import {
  annotatedKey,
  type DetectedFrame,
  decodeDetectedFrame,
  decodeFrame,
  type Frame,
  failedKey,
} from '@video-pipeline/frame';
import type { Kafka } from '@video-pipeline/kafka';
import type { Bucket } from './bucket.ts';
import { samePicture } from './pixels.ts';
import { type PlacedRecord, readTopic } from './read-topic.ts';

/** What became of every frame that Kafka holds. Lists are of frames, `stream/session/number`, or of records. */
export interface AuditReport {
  /** Records on the topic of frames. */
  published: number;
  annotated: number;
  failed: number;
  /** In neither place. */
  missing: string[];
  /** Annotated and in `failed/` as well. */
  both: string[];
  /** The detections belong to a record with another picture than the frame's. */
  mixedUp: string[];
  /** The stored picture is not the frame's (with `pixels`). */
  wrongPixels: string[];
}

export interface AuditOptions {
  kafka: Kafka;
  bucket: Bucket;
  framesTopic: string;
  detectionsTopic: string;
  s3Prefix: string;
  /** Also compares each stored picture with its frame: reads every object. */
  pixels: boolean;
}

/**
 * Accounts for every frame that Kafka holds, from Kafka and S3 alone: it trusts no counter and no offset of the
 * pipeline. A frame must be annotated, or lie in `failed/`, and not both.
 */
export async function audit(options: AuditOptions): Promise<AuditReport> {
  const report: AuditReport = {
    published: 0,
    annotated: 0,
    failed: 0,
    missing: [],
    both: [],
    mixedUp: [],
    wrongPixels: [],
  };
  const detected = await readDetected(options);
  const stored = await keySet(options.bucket, `${options.s3Prefix}/`);
  const failed = await keySet(options.bucket, 'failed/');
  await readTopic(options.kafka, options.framesTopic, async (record) => {
    report.published++;
    const frame = tryDecode(record);
    const seen = frame && detected.get(idOf(frame));
    const isFailed =
      failed.has(failedKey('detect', record)) ||
      (seen?.records.some((one) => failed.has(failedKey('annotate', one))) ?? false);
    const key = frame && annotatedKey(options.s3Prefix, frame);
    const isStored = key !== undefined && stored.has(key);
    const name = frame ? idOf(frame) : placeOf(record);
    if (isStored) report.annotated++;
    if (isFailed) report.failed++;
    if (isStored && isFailed) report.both.push(name);
    if (!isStored && !isFailed) report.missing.push(name);
    if (frame && seen && seen.digest !== digest(frame.jpeg)) report.mixedUp.push(name);
    if (options.pixels && frame && isStored) {
      const picture = await options.bucket.read(key);
      if (!(await samePicture(frame.jpeg, picture, seen?.detections ?? []))) report.wrongPixels.push(name);
    }
  });
  return report;
}

/** Whether every frame is accounted for. */
export function isClean(report: AuditReport): boolean {
  return [report.missing, report.both, report.mixedUp, report.wrongPixels].every((list) => list.length === 0);
}

interface Detected {
  /** Of the picture that the detections came with. */
  digest: string;
  detections: DetectedFrame['detections'];
  records: { topic: string; partition: number; offset: number }[];
}

async function readDetected({ kafka, detectionsTopic }: AuditOptions): Promise<Map<string, Detected>> {
  const detected = new Map<string, Detected>();
  await readTopic(kafka, detectionsTopic, (record) => {
    // What was seen may be what is wrong with the record: it still is of a frame.
    const frame = tryDecode(record);
    if (!frame) return;
    const { topic, partition, offset } = record;
    const { detections = [] } = tryDecode(record, decodeDetectedFrame) ?? {};
    const records = [...(detected.get(idOf(frame))?.records ?? []), { topic, partition, offset }];
    detected.set(idOf(frame), { digest: digest(frame.jpeg), detections, records });
  });
  return detected;
}

function tryDecode(record: PlacedRecord): Frame | undefined;
function tryDecode<T>(record: PlacedRecord, decode: (record: PlacedRecord) => T): T | undefined;
function tryDecode(record: PlacedRecord, decode: (record: PlacedRecord) => unknown = decodeFrame): unknown {
  try {
    return decode(record);
  } catch {
    return undefined;
  }
}

async function keySet(bucket: Bucket, prefix: string): Promise<Set<string>> {
  const keys = new Set<string>();
  for await (const key of bucket.list(prefix)) keys.add(key);
  return keys;
}

/** `stream/session/number`: what names a frame wherever it lies. */
export function idOf({ streamId, session, frameNumber }: Frame): string {
  return `${streamId}/${session}/${frameNumber}`;
}

function placeOf({ topic, partition, offset }: PlacedRecord): string {
  return `${topic}-${partition}-${offset}`;
}

function digest(jpeg: Buffer): string {
  return createHash('sha1').update(jpeg).digest('base64');
}
