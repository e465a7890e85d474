import {
  annotatedKey,
  archiveSpanOf,
  type Detection,
  decodeSeenFrame,
  fromLambdaRecord,
} from '@video-pipeline/frame';
import { audit, isClean, listFailed, type PositionedRecord, readTopic } from '@video-pipeline/recovery';
import { inParallel, keyOf, objectsOf, type Part, picturesIn } from '@video-pipeline/storage';
import { accountForIngest } from './ingest-hosts.ts';
import { type Entry, idOf, LEDGER_HEADER, placeOf, streamIdOf } from './ledger.ts';
import { isMarked, type Name, readDetections, readPicture } from './numbered.ts';
import { DETECTIONS_TOPIC, FRAMES_TOPIC, INGEST_TOPIC, KEPT_SECONDS, PREFIX, type Rig } from './rig.ts';
import { checkTables } from './tables.ts';

/** Errors by frame (`stream/number`). All lists are empty if every frame is accounted for. */
export interface Accounts {
  /** Acknowledged frames that are neither annotated nor, for poison, in `failed/` with a reason. */
  missing: string[];
  /** Valid frames in `failed/`. */
  failedInVain: string[];
  /** Frames whose picture in S3 is another one than was published. */
  wrongPixels: string[];
  /** Frames whose record on the topic of detections, or line in S3, has the detections of another frame. */
  wrongDetections: string[];
  /** Annotated frames without a line of detections. */
  unlisted: string[];
  /** Findings of `npm run audit`. */
  audit: string[];
  /** Differences between the tables and the NDJSON. */
  tables: string[];
  /** Frames that ingest counted as published, and that Kafka lacks or has in another order. */
  ingest: string[];
}

export interface Accounting {
  accounts: Accounts;
  annotated: number;
  failed: number;
  /** Frames of the ingest hosts and the probe in Kafka, and how many of them are there twice. */
  ingested: { frames: number; twice: number };
  /** Number of NDJSON lines minus the number of frames: a redelivered batch may have other limits. */
  repeatedLines: number;
  /** Records after later ones of their stream and partition, and pictures in S3 without a frame. */
  misplaced: string[];
}

/** Whether every frame is accounted for. */
export function isSound({ accounts, misplaced }: Accounting): boolean {
  return [...Object.values(accounts), misplaced].every((list) => list.length === 0);
}

const READS_AT_ONCE = 8;

/**
 * Accounts for every entry of the ledger by the contents of Kafka and S3. The audit reads S3 by its API. Here the files of
 * S3Proxy are read, since requests for so many objects take longer than a campaign.
 */
export async function account(
  rig: Rig,
  ledger: readonly Entry[],
  published: ReadonlyMap<string, number>,
): Promise<Accounting> {
  const good = ledger.filter(({ fate }) => fate === 'annotated').map(({ name }) => name);
  const poison = ledger.filter(({ fate }) => fate === 'failed').map(({ name }) => name);
  const [failed, pictures, lines, records, audited, { wrong, ...ingested }] = await Promise.all([
    readFailedIds(rig),
    readPictures(rig, rig.store === 'events' ? keptOf(good) : good),
    checkLines(rig),
    checkRecords(rig),
    auditWhole(rig),
    accountForIngest(rig, INGEST_TOPIC, published),
  ]);
  const accounts: Accounts = {
    missing: [...pictures.missing, ...poison.map(idOf).filter((id) => !failed.has(id))],
    failedInVain: good.map(idOf).filter((id) => failed.has(id)),
    wrongPixels: pictures.wrong,
    wrongDetections: [...records.wrong, ...lines.wrong],
    unlisted: good.map(idOf).filter((id) => !lines.listed.has(id)),
    audit: audited,
    ingest: wrong,
    tables: await checkTables(rig, lines.all),
  };
  return {
    accounts,
    annotated: good.length - pictures.missing.length,
    failed: failed.size,
    ingested,
    repeatedLines: lines.all.length - lines.listed.size,
    misplaced: [...records.late, ...pictures.strays],
  };
}

async function auditWhole({ kafka, bucket }: Rig): Promise<string[]> {
  const config = { KAFKA_TOPIC: FRAMES_TOPIC, KAFKA_DETECTIONS_TOPIC: DETECTIONS_TOPIC, S3_PREFIX: PREFIX };
  const report = await audit({ kafka, bucket, config, pixels: false });
  if (isClean(report)) return [];
  const { missing, both, mixedUp } = report;
  return Object.entries({ missing, both, mixedUp }).flatMap(([what, ids]) =>
    ids.map((id) => `${what} ${id}`),
  );
}

async function readFailedIds({ bucket }: Rig): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const { record, reason, key } of listFailed(bucket)) {
    const { headers = {} } = fromLambdaRecord(record);
    // Records of annotate are those of detect, without the header of the ledger.
    const id = headers[LEDGER_HEADER] ?? `${String(headers.stream_id).split('-')[1]}/${headers.frame_number}`;
    ids.add(reason ? String(id) : `${key} has no reason`);
  }
  return ids;
}

/** Names of the frames that STORE=events stores, computed from the ledger, without batches and faults. */
function keptOf(names: readonly Name[]): Name[] {
  const marked = names.filter(isMarked);
  const isNear = (one: Name) => (other: Name) =>
    one.stream === other.stream &&
    Math.abs(placeOf(one).capturedAt - placeOf(other).capturedAt) <= KEPT_SECONDS * 1000;
  return names.filter((name) => marked.some(isNear(name)));
}

async function readPictures({ files }: Rig, names: readonly Name[]) {
  const places = await picturePlaces(files);
  const nameOf = new Map(names.map((name) => [annotatedKey(PREFIX, placeOf(name)), name]));
  const stored = [...places].filter(([key]) => nameOf.has(key));
  const wrong = await inParallel(stored, READS_AT_ONCE, async ([key, place]) => {
    const name = nameOf.get(key) as Name;
    const found = await readPicture(await files.read(place.key, place.part)).catch(() => undefined);
    return isSame(name, found) ? [] : [idOf(name)];
  });
  return {
    missing: [...nameOf].filter(([key]) => !places.has(key)).map(([, name]) => idOf(name)),
    wrong: wrong.flat(),
    strays: [...places.keys()].filter((key) => !nameOf.has(key)),
  };
}

/** The place of each picture, by the key that it has with STORE=frames. */
async function picturePlaces(files: Rig['files']) {
  const places = new Map<string, { key: string; part?: Part }>();
  for await (const { key } of objectsOf(files, `${PREFIX}/`)) {
    if (!archiveSpanOf(key)) places.set(key, { key });
    else for (const one of await picturesIn(files, key)) places.set(keyOf(one), { key, part: one });
  }
  return places;
}

/** @returns late frames on a topic, and frames whose record has the detections of another frame */
async function checkRecords({ kafka }: Rig): Promise<{ late: string[]; wrong: string[] }> {
  const homes = new Map<string, number>();
  const wrong: string[] = [];
  const inFrames = orderOn(FRAMES_TOPIC, homes);
  await readTopic(kafka, FRAMES_TOPIC, (record) => {
    const id = String(record.headers?.[LEDGER_HEADER]);
    if (!inFrames.seen.has(id)) homes.set(id, record.partition);
    inFrames.take(id, record);
  });
  const inDetections = orderOn(DETECTIONS_TOPIC, homes);
  await readTopic(kafka, DETECTIONS_TOPIC, (record) => {
    if (record.headers?.[LEDGER_HEADER]) return; // Not detect's.
    const { streamId, frameNumber, detections } = decodeSeenFrame(record);
    const id = `${streamId.split('-')[1]}/${frameNumber}`;
    if (!says(detections, streamId, frameNumber)) wrong.push(id);
    inDetections.take(id, record);
  });
  return { late: [...inFrames.late(), ...inDetections.late()], wrong };
}

/**
 * Notes frames that were first published after a later frame of their stream and home partition, on the same partition.
 * @param homes the partition of `video-frames` of each frame. After partitions are added, a stream has two, and Kafka keeps
 * the order only within each
 */
export function orderOn(topic: string, homes: ReadonlyMap<string, number>) {
  const newest = new Map<string, number>();
  const seen = new Map<string, Set<number>>();
  const behind: { id: string; partition: number }[] = [];
  const take = (id: string, { partition }: Pick<PositionedRecord, 'partition'>) => {
    const partitions = seen.get(id) ?? new Set();
    if (partitions.has(partition)) return; // Delivered again.
    seen.set(id, partitions.add(partition));
    const [stream, number] = id.split('/');
    const place = `${stream} of ${homes.get(id)} on ${topic}-${partition}`;
    if (Number(number) < (newest.get(place) ?? -1)) behind.push({ id, partition });
    newest.set(place, Math.max(newest.get(place) ?? -1, Number(number)));
  };
  // A frame on two partitions was delivered again after its stream had moved. Which of them is the first is not known.
  const late = () =>
    behind
      .filter(({ id }) => seen.get(id)?.size === 1)
      .map(({ id, partition }) => `${id} on ${topic}-${partition}`);
  return { seen, late, take };
}

/** A line of NDJSON. */
export interface Line {
  annotated_key: string;
  stream_id: string;
  frame_number: number;
  detections: Detection[];
}

async function checkLines({ files }: Rig) {
  const objects = await Array.fromAsync(objectsOf(files, 'detections/'));
  const texts = await inParallel(objects, READS_AT_ONCE, ({ key }) => files.read(key));
  const lines: Line[] = texts.flatMap((text) =>
    String(text)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
  const idOfLine = ({ stream_id, frame_number }: Line) => `${stream_id.split('-')[1]}/${frame_number}`;
  const wrong = lines.filter((line) => !says(line.detections, line.stream_id, line.frame_number));
  return { wrong: wrong.map(idOfLine), listed: new Set(lines.map(idOfLine)), all: lines };
}

function says(detections: readonly Detection[], streamId: string, frameNumber: number): boolean {
  const seen = readDetections(detections);
  return seen !== undefined && streamIdOf(seen.stream) === streamId && seen.number === frameNumber;
}

function isSame(name: Name, other: Name | undefined): boolean {
  return other !== undefined && idOf(other) === idOf(name);
}
