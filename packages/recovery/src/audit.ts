import { hash } from 'node:crypto';
import type { Config } from '@video-pipeline/config';
import {
  annotatedKey,
  type DetectedFrame,
  decodeFrame,
  decodeSeenFrame,
  detectionsFolder,
  type Frame,
  HOUR_MS,
  idOf,
  type Position,
  positionOf,
} from '@video-pipeline/frame';
import { consumerLag, groupExists, type Kafka, withAdmin } from '@video-pipeline/kafka';
import { FAILED_FOLDERS, FRAME_STAGES, groupOf, type TopicVariable } from '@video-pipeline/stages';
import { type Bucket, findArchived, ifForeign, ifThere, inParallel } from '@video-pipeline/storage';
import { DiskMap } from './disk-map.ts';
import { failedRecords, type TimedPosition } from './failed-records.ts';
import { lostBeforeKafka, sessionOf } from './ingest-counts.ts';
import { samePicture } from './pixels.ts';
import { type PositionedRecord, readTopic } from './read-topic.ts';
import { keysNotKept, storedKeys, type Unlisted } from './stored-keys.ts';

/** State of every frame that Kafka holds. Lists name frames as `stream/session/number`, or records. */
export interface AuditReport {
  /** Records on the topic of frames. */
  published: number;
  annotated: number;
  /** Detections are stored, without the picture: STORE=events does not keep it. */
  notKept: number;
  failed: number;
  /** Records in `failed/` or in batches that a mapping gave up on, frames or not, by the stage that put them there. */
  failedRecords: Record<string, number>;
  /** Neither annotated nor in `failed/`, but a stage has not committed its offset: it will, or gets the frame again. */
  onItsWay: number;
  /** Neither annotated nor in `failed/`, though every stage has committed its offset: lost. */
  missing: string[];
  /** Annotated, and in `failed/` as well. */
  both: string[];
  /** Frames whose detections belong to a record with another picture. */
  mixedUp: string[];
  /** Frames whose stored picture is another one (with `pixels`). */
  wrongPixels: string[];
  /** Objects named like failed records, lost batches, archives or detections that are none. Their frames are unknown. */
  unreadable: string[];
  /** Sessions of which ingest published more frames than Kafka holds (with `counted`). */
  lostBeforeKafka?: string[];
}

interface AuditOptions {
  kafka: Kafka;
  bucket: Bucket;
  /** The consumer groups' offsets show which frames are on their way. Without a group, none is. */
  config: Config<'KAFKA_TOPIC' | 'KAFKA_DETECTIONS_TOPIC' | 'S3_PREFIX'> & Partial<Config<'KAFKA_GROUP_ID'>>;
  /** Also compares each stored picture with its frame: reads every object. */
  pixels: boolean;
  /** Frames that ingest says it published, by `stream/session`. */
  counted?: ReadonlyMap<string, number> | undefined;
  /** Only frames that were written to Kafka at this time or later, epoch ms. */
  from?: number;
}

/** A record of `video-frames`. */
interface Sought {
  name: string;
  record: TimedPosition;
  /** Its picture only with `pixels`. */
  frame: Frame | undefined;
  seen: Detected | undefined;
}

/** Most records that are looked for at once, and most bytes of their pictures. As many are read meanwhile, and no more. */
const CHUNK = 20_000;
const CHUNK_BYTES = 64 * 1024 ** 2;
/** Partitions that are read side by side: each holds up to 16 MB of its topic. */
const READERS = { atOnce: 4 };
/** Pictures that are compared side by side. */
const COMPARED = 8;

/**
 * Accounts for every frame that Kafka holds, from Kafka and S3 alone. It trusts no counter of the pipeline. It trusts
 * committed offsets only in one way: a frame whose offset is not committed is not lost. A frame must be annotated or
 * lie in `failed/`, and not both. Memory does not grow with the number of frames, but with that of the wrong ones. What
 * is known of the others is on the disk. Of the bucket, only the hours of the frames are listed.
 * @example
 * isClean(await audit({ kafka, bucket: createReader(), config, pixels: false }));
 */
export async function audit(options: AuditOptions): Promise<AuditReport> {
  const { kafka, bucket, config, counted, pixels, from = 0 } = options;
  const counts = { published: 0, annotated: 0, notKept: 0, failed: 0, failedRecords: {}, onItsWay: 0 };
  const report: AuditReport = {
    ...counts,
    missing: [],
    both: [],
    mixedUp: [],
    wrongPixels: [],
    unreadable: [],
  };
  // Read first: the output of each offset that is committed now is stored before we list the bucket.
  const isAwaited = await awaited(options);
  using detected = new DiskMap<Detected>();
  using claims = new DiskMap<string>();
  await readDetected(options, detected, claims);
  const unreadable = new Set<string>();
  using failed = await failedRecords(bucket, unreadable);
  report.failedRecords = countByStage(failed.keys());
  using held = new DiskMap<true>();
  using unlisted = new DiskMap<Unlisted>();
  let left = 0;
  const account = async ({ name, record, frame, seen }: Sought, stored: ReadonlySet<string>) => {
    const isFailed = (await Promise.all([record, ...(seen?.records ?? [])].map(failed.has))).includes(true);
    const key = frame && annotatedKey(config.S3_PREFIX, frame);
    const isStored = key !== undefined && stored.has(key);
    if (isStored) report.annotated++;
    if (isFailed) report.failed++;
    if (isStored && isFailed) report.both.push(name);
    if (!isStored && !isFailed) {
      if (
        isAwaited('KAFKA_TOPIC', record) ||
        seen?.records.some((one) => isAwaited('KAFKA_DETECTIONS_TOPIC', one))
      )
        report.onItsWay++;
      else unlisted.set(inOrder(left++), { name, key, folder: frame && detectionsFolder(frame) });
    }
    return pixels && isStored;
  };
  const isWrong = async ({ frame, seen }: Sought) => {
    if (!frame) return false;
    const reading = ifThere(bucket.read(annotatedKey(config.S3_PREFIX, frame)));
    const picture = await reading.catch(ifForeign(() => NO_PICTURE));
    return picture !== undefined && !(await samePicture(frame.jpeg, picture, seen?.detections ?? []));
  };
  const accountAll = async (all: Sought[]) => {
    const frames = all.flatMap(({ frame }) => frame ?? []);
    const stored = await storedKeys(bucket, config.S3_PREFIX, frames, unreadable);
    const compared: Sought[] = [];
    for (const one of all) if (await account(one, stored)) compared.push(one);
    const areWrong = await inParallel(compared, COMPARED, isWrong);
    report.wrongPixels.push(...compared.filter((_, index) => areWrong[index]).map(({ name }) => name));
  };
  let chunk: Sought[] = [];
  let bytes = 0;
  let accounting = Promise.resolve();
  /** What all readers wait for while a full chunk waits: otherwise each of them could fill another one. */
  let waiting: Promise<void> | undefined;
  /** Accounts for the chunk, once that is done for the one before it. */
  const flush = async () => {
    const all = chunk;
    [chunk, bytes, waiting] = [[], 0, accounting];
    accounting = waiting.then(() => accountAll(all));
    accounting.catch(() => {}); // Whoever waits for it gets the error.
    await waiting;
    waiting = undefined;
  };
  const visit = (record: PositionedRecord) => {
    report.published++;
    const { topic, partition, offset, timestamp } = record;
    const frame = tryDecode(record, decodeFrame);
    const name = frame ? idOf(frame) : positionOf(record);
    const seen = frame && detected.get(name);
    if (frame && counted?.has(sessionOf(name))) held.set(name, true);
    const claimedBy = claims.get(positionOf(record)) ?? name;
    if (claimedBy !== name || (frame && seen?.digest && seen.digest !== digest(frame.jpeg)))
      report.mixedUp.push(name);
    if (frame && !pixels) frame.jpeg = NO_PICTURE;
    chunk.push({ name, record: { topic, partition, offset, timestamp }, frame, seen });
    bytes += frame?.jpeg.length ?? 0;
    return chunk.length >= CHUNK || bytes >= CHUNK_BYTES ? flush() : waiting;
  };
  await readTopic(kafka, config.KAFKA_TOPIC, visit, { ...READERS, since: from });
  await flush();
  await accounting;
  await countUnlisted(bucket, unlisted, left <= MAX_SINGLE_READS, report, unreadable);
  if (counted) report.lostBeforeKafka = lostBeforeKafka(counted, held);
  report.unreadable = [...unreadable];
  return report;
}

/** Counts the frames that no listing had: they were not kept, their object is there after all, or they are missing. */
async function countUnlisted(
  bucket: Bucket,
  unlisted: DiskMap<Unlisted>,
  mayRead: boolean,
  report: AuditReport,
  unreadable: Set<string>,
): Promise<void> {
  using notKept = await keysNotKept(bucket, unlisted, unreadable);
  const isThere = async (key: string) =>
    (await ifThere(bucket.head(key, 1))) ?? findArchived(bucket, key).catch(ifForeign(() => undefined));
  for (const [, { name, key }] of unlisted) {
    if (key && notKept.get(key)) report.notKept++;
    else if (key && mayRead && (await isThere(key))) report.annotated++;
    else report.missing.push(name);
  }
}

const NO_PICTURE = Buffer.alloc(0);
/** A listing takes time, and may miss an object. Pictures that it lacks are asked for one by one, if they are so few. */
const MAX_SINGLE_READS = 1_000;

/** A key that sorts by its number. */
const inOrder = (number: number) => String(number).padStart(16, '0');

export function isClean(report: AuditReport): boolean {
  const { missing, both, mixedUp, wrongPixels, lostBeforeKafka = [] } = report;
  return [missing, both, mixedUp, wrongPixels, lostBeforeKafka].every((list) => list.length === 0);
}

interface Detected {
  /** Digest of the picture that came with the detections, if one did. */
  digest: string | undefined;
  detections: DetectedFrame['detections'];
  /** Records that annotate has to read. */
  records: TimedPosition[];
}

/** @returns whether the stage that reads a record's topic has yet to commit its offset */
async function awaited(options: AuditOptions): Promise<(topic: TopicVariable, record: Position) => boolean> {
  const { kafka, config } = options;
  const { KAFKA_GROUP_ID } = config;
  if (KAFKA_GROUP_ID === undefined) return () => false;
  const committed = new Map<TopicVariable, Map<number, number>>();
  await withAdmin(kafka, async (admin) => {
    const existing = await admin.listTopics();
    for (const stage of FRAME_STAGES) {
      const topic = stage.reads === 'KAFKA_TOPIC' ? config.KAFKA_TOPIC : config.KAFKA_DETECTIONS_TOPIC;
      const group = groupOf(stage, { KAFKA_GROUP_ID });
      // A group that never had a member will not commit anything.
      if (!existing.includes(topic) || !(await groupExists(admin, group))) continue;
      const partitions = await consumerLag(admin, group, topic);
      committed.set(stage.reads, new Map(partitions.map((one) => [one.partition, one.committed])));
    }
  });
  return (topic, { partition, offset }) =>
    offset >= (committed.get(topic)?.get(partition) ?? Number.POSITIVE_INFINITY);
}

/** Counts records by stage. Stages without any are included, and so are other folders. */
function countByStage(failed: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = Object.create(null);
  for (const name of FAILED_FOLDERS) counts[name] = 0;
  for (const key of failed) {
    const [, name = ''] = key.split('/');
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** Reads `detections`: the records by frame id, and the frame that they claim for each position of `video-frames`. */
async function readDetected(
  { kafka, config, pixels, from = 0 }: AuditOptions,
  detected: DiskMap<Detected>,
  claims: DiskMap<string>,
): Promise<void> {
  const visit = (record: PositionedRecord) => {
    // The detections may be what is wrong with the record. It still belongs to a frame.
    const frame = tryDecode(record, decodeSeenFrame) ?? tryDecode(record, decodeFrame);
    if (!frame) return;
    const { topic, partition, offset, timestamp } = record;
    const id = idOf(frame);
    const records = detected.get(id)?.records ?? [];
    const detections = pixels && 'detections' in frame ? frame.detections : [];
    if ('picture' in frame) claims.set(positionOf(frame.picture), id);
    else records.push({ topic, partition, offset, timestamp });
    detected.set(id, { digest: 'jpeg' in frame ? digest(frame.jpeg) : undefined, detections, records });
  };
  // Detections are written after their frame, but by another clock.
  await readTopic(kafka, config.KAFKA_DETECTIONS_TOPIC, visit, { ...READERS, since: from - HOUR_MS });
}

function tryDecode<T>(record: PositionedRecord, decode: (record: PositionedRecord) => T): T | undefined {
  try {
    return decode(record);
  } catch {
    return undefined;
  }
}

function digest(jpeg: Buffer): string {
  return hash('sha1', jpeg, 'base64');
}
