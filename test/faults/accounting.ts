import { annotatedKey, type Detection, decodeDetectedFrame, fromLambdaRecord } from '@video-pipeline/frame';
import { audit, isClean, listFailed, readTopic } from '@video-pipeline/recovery';
import { pictureKeys } from '@video-pipeline/storage';
import { inParallel } from '../../functions/src/in-parallel.ts';
import { accountForIngest } from './ingest-hosts.ts';
import { type Entry, idOf, LEDGER_HEADER, placeOf, streamIdOf } from './ledger.ts';
import { type Name, readDetections, readPicture } from './numbered.ts';
import { DETECTIONS_TOPIC, FRAMES_TOPIC, INGEST_TOPIC, PREFIX, type Rig } from './rig.ts';

/** What is wrong, frame by frame (`stream/number`); all lists are empty when every frame is accounted for. */
export interface Accounts {
  /** Acknowledged, and not where the ledger says: neither annotated, nor, for poison, in `failed/` with a reason. */
  missing: string[];
  /** In `failed/`, though nothing is wrong with it. */
  failedInVain: string[];
  /** In S3 there is another picture than was published. */
  wrongPixels: string[];
  /** A record on the topic of detections, or a line in S3, has what was seen in another frame. */
  wrongDetections: string[];
  /** Annotated, but in no line of what was seen. */
  unlisted: string[];
  /** What `npm run audit` finds, from Kafka and S3 alone. */
  audit: string[];
  /** What ingest says it published, and Kafka lacks or has in another order. */
  ingest: string[];
}

export interface Accounting {
  accounts: Accounts;
  annotated: number;
  failed: number;
  /** Of the ingest hosts and the probe: frames in Kafka, and how many of them are there twice. */
  ingested: { frames: number; twice: number };
  /** Lines of NDJSON more than frames: a batch that was delivered again was cut elsewhere. */
  repeatedLines: number;
  /** Records of a stream that lie behind later ones of its partition, and pictures in S3 that no frame is of. */
  misplaced: string[];
}

/** Whether every frame is accounted for. */
export function isSound({ accounts, misplaced }: Accounting): boolean {
  return [...Object.values(accounts), misplaced].every((list) => list.length === 0);
}

const READS_AT_ONCE = 8;

/** Accounts for every entry of the ledger from what lies in Kafka and S3. */
export async function account(
  rig: Rig,
  ledger: readonly Entry[],
  published: ReadonlyMap<string, number>,
): Promise<Accounting> {
  const good = ledger.filter(({ fate }) => fate === 'annotated').map(({ name }) => name);
  const poison = ledger.filter(({ fate }) => fate === 'failed').map(({ name }) => name);
  const [failed, pictures, detections, lines] = [
    await readFailedIds(rig),
    await readPictures(rig, good),
    await checkDetections(rig),
    await checkLines(rig),
  ];
  const topics = { framesTopic: INGEST_TOPIC, detectionsTopic: DETECTIONS_TOPIC };
  const { wrong, ...ingested } = await accountForIngest(rig, topics, published);
  const homes = new Map<string, number>();
  const accounts: Accounts = {
    missing: [...pictures.missing, ...poison.map(idOf).filter((id) => !failed.has(id))],
    failedInVain: good.map(idOf).filter((id) => failed.has(id)),
    wrongPixels: pictures.wrong,
    wrongDetections: [...detections, ...lines.wrong],
    unlisted: good.map(idOf).filter((id) => !lines.listed.has(id)),
    audit: await auditWhole(rig),
    ingest: wrong,
  };
  return {
    accounts,
    annotated: good.length - pictures.missing.length,
    failed: failed.size,
    ingested,
    repeatedLines: lines.count - lines.listed.size,
    misplaced: [
      ...(await outOfOrder(rig, FRAMES_TOPIC, homes)),
      ...(await outOfOrder(rig, DETECTIONS_TOPIC, homes)),
      ...pictures.strays,
    ],
  };
}

async function auditWhole({ kafka, bucket }: Rig): Promise<string[]> {
  const topics = { framesTopic: FRAMES_TOPIC, detectionsTopic: DETECTIONS_TOPIC };
  const report = await audit({ kafka, bucket, ...topics, s3Prefix: PREFIX, pixels: false });
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
    // Annotate's records are detect's, without the header of the ledger.
    const id = headers[LEDGER_HEADER] ?? `${String(headers.stream_id).split('-')[1]}/${headers.frame_number}`;
    ids.add(reason ? String(id) : `${key} has no reason`);
  }
  return ids;
}

async function readPictures({ bucket }: Rig, names: readonly Name[]) {
  const keys = new Set(await Array.fromAsync(pictureKeys(bucket, `${PREFIX}/`)));
  const keyOf = (name: Name) => annotatedKey(PREFIX, placeOf(name));
  const expected = new Set(names.map(keyOf));
  const stored = names.filter((name) => keys.has(keyOf(name)));
  const read = await inParallel(stored, READS_AT_ONCE, async (name) => ({
    name,
    found: await readPicture(await bucket.read(keyOf(name))).catch(() => undefined),
  }));
  return {
    missing: names.filter((name) => !keys.has(keyOf(name))).map(idOf),
    wrong: read.filter(({ name, found }) => !isSame(name, found)).map(({ name }) => idOf(name)),
    strays: [...keys].filter((key) => !expected.has(key)),
  };
}

/**
 * @param homes the partition of frames that each frame lies on, filled where the topic is that of frames: once partitions are
 * added a stream has two, and Kafka keeps an order in each alone
 * @returns frames that were first put on the topic after a later one of their stream and home, on the same partition
 */
async function outOfOrder({ kafka }: Rig, topic: string, homes: Map<string, number>): Promise<string[]> {
  const newest = new Map<string, number>();
  const seen = new Set<string>();
  const late: string[] = [];
  await readTopic(kafka, topic, ({ headers, partition }) => {
    const ours = headers?.[LEDGER_HEADER];
    if (ours && topic === DETECTIONS_TOPIC) return; // Not detect's.
    const id = String(ours ?? `${String(headers?.stream_id).split('-')[1]}/${headers?.frame_number}`);
    if (seen.has(id)) return; // Delivered again.
    seen.add(id);
    if (topic === FRAMES_TOPIC) homes.set(id, partition);
    const [stream = '', number] = id.split('/');
    const place = `${stream} of ${homes.get(id)} on ${topic}-${partition}`;
    if (Number(number) < (newest.get(place) ?? -1)) late.push(`${id} on ${topic}-${partition}`);
    newest.set(place, Math.max(newest.get(place) ?? -1, Number(number)));
  });
  return late;
}

/** @returns frames that have another frame's detections on the topic */
async function checkDetections({ kafka }: Rig): Promise<string[]> {
  const wrong: string[] = [];
  await readTopic(kafka, DETECTIONS_TOPIC, (record) => {
    if (record.headers?.[LEDGER_HEADER]) return; // Not detect's.
    const { streamId, frameNumber, detections } = decodeDetectedFrame(record);
    if (!says(detections, streamId, frameNumber)) wrong.push(`${streamId}/${frameNumber}`);
  });
  return wrong;
}

interface Line {
  stream_id: string;
  frame_number: number;
  detections: Detection[];
}

async function checkLines({ bucket }: Rig) {
  const keys = await Array.fromAsync(bucket.list('detections/'));
  const texts = await inParallel(keys, READS_AT_ONCE, (key) => bucket.read(key));
  const lines: Line[] = texts.flatMap((text) =>
    String(text)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
  const idOfLine = ({ stream_id, frame_number }: Line) => `${stream_id.split('-')[1]}/${frame_number}`;
  const wrong = lines.filter((line) => !says(line.detections, line.stream_id, line.frame_number));
  return { wrong: wrong.map(idOfLine), listed: new Set(lines.map(idOfLine)), count: lines.length };
}

function says(detections: readonly Detection[], streamId: string, frameNumber: number): boolean {
  const seen = readDetections(detections);
  return seen !== undefined && streamIdOf(seen.stream) === streamId && seen.number === frameNumber;
}

function isSame(name: Name, other: Name | undefined): boolean {
  return other !== undefined && idOf(other) === idOf(name);
}
