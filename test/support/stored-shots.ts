import { annotatedKey, detectionsKey, eventKey, HOUR_MS } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import type { FoundFrame, Query, Tables } from '@video-pipeline/tables';
import type { TableBucket } from '../../packages/tables/src/merge.ts';
import { LIMITS } from '../../packages/tables/src/open-hours.ts';
import type { MemoryBucket } from './memory-bucket.ts';

/** Half an hour before midnight: frames lie on both sides of it. */
export const START = Date.UTC(2026, 9, 24, 23, 30);
/** Enough time on a busy machine, too. */
export const AMPLE = { ...LIMITS, readingMs: 60_000 };
/** No listing is kept: each query sees what was stored just now. */
export const NOT_KEPT = { manifestsMs: 0, streamsMs: 0, openMs: 0 };
export const STREAMS = ['yard', 'gate', 'a-3.b_c'];

export interface Shot {
  stream: string;
  /** Minutes after {@link START}. */
  minute: number;
  number: number;
  seen: { class_name: string; confidence: number; track: boolean; lawn?: boolean }[];
}

/** Fields that models of other tasks add. */
const DETAILS: Pick<FoundFrame['detections'][number], 'polygon' | 'keypoints'> = {
  polygon: [
    [1.5, 2],
    [30, 4.5],
    [5, 60],
  ],
  keypoints: [
    [3, 4.1, 0.87],
    [5, 6],
  ],
};

export function lineOf({ stream, minute, number, seen }: Shot, version: number): string {
  const frame = { streamId: stream, capturedAt: START + minute * 60_000 + number, frameNumber: number };
  const facts: FoundFrame = {
    stream_id: stream,
    frame_number: number,
    session: 's',
    captured_at: frame.capturedAt,
    width: 1280,
    height: 720,
    model: `m${version}`,
    detections: seen.map(({ class_name, confidence, track, lawn }, i) => ({
      class_id: i,
      class_name,
      confidence,
      bbox: [i + 0.1, 1 / 3, 100.25 + i, 200],
      ...(track ? { track_id: `t-${number % 3}` } : {}),
      ...(lawn ? { zones: ['lawn', "it's"], ...DETAILS } : {}),
    })),
    annotated_key: annotatedKey('annotated', frame),
    ...(number === 3 ? { archive: { key: 'annotated/x.tar', offset: 512, length: 9 } } : {}),
  };
  return JSON.stringify(facts);
}

/** Stores the NDJSON that annotate stores for a batch: one for each stream and hour. */
export async function store(bucket: MemoryBucket, batch: readonly Shot[], offset: number): Promise<void> {
  const keyOf = ({ stream, minute, number }: Shot) =>
    detectionsKey(
      { streamId: stream, capturedAt: START + minute * 60_000 + number },
      { topic: 'd', partition: 0, offset },
    );
  for (const [key, shots] of Map.groupBy(batch, keyOf)) {
    bucket.now += 1_000;
    await bucket.put({
      key,
      body: shots.map((shot) => `${lineOf(shot, offset)}\n`).join(''),
    });
  }
}

/** The same query, answered by reading every stored line. */
export function plainScan(bucket: MemoryBucket, query: Query): FoundFrame[] {
  const newest = new Map<string, FoundFrame>();
  const objects = [...bucket.objects].filter(([key]) => key.startsWith('detections/'));
  for (const [, { body }] of objects.sort(([, a], [, b]) => a.stored - b.stored)) {
    for (const line of body.toString().split('\n').filter(Boolean)) {
      const frame: FoundFrame = JSON.parse(line);
      newest.set(frame.annotated_key, frame);
    }
  }
  const { streams, classes, confidence, track, zone, perTrack } = query;
  const isShown = (one: FoundFrame['detections'][number]) =>
    (!classes?.length || classes.includes(one.class_name)) &&
    one.confidence >= confidence &&
    (track === undefined || one.track_id === track) &&
    (zone === undefined || one.zones?.includes(zone) === true);
  const found = [...newest.values()]
    .filter(({ captured_at }) => captured_at >= query.from && captured_at < query.to)
    .filter(({ stream_id }) => !streams?.length || streams.includes(stream_id))
    .filter(({ detections }) => {
      if (!classes?.length && !confidence && track === undefined && zone === undefined && !perTrack)
        return true;
      return detections.some(isShown);
    })
    .sort(
      (a, b) =>
        b.captured_at - a.captured_at ||
        (a.stream_id < b.stream_id ? -1 : a.stream_id > b.stream_id ? 1 : b.frame_number - a.frame_number),
    );
  if (!perTrack) return found;
  const surest = new Map<string, { confidence: number; frame: FoundFrame }>();
  for (const frame of found.toReversed()) {
    for (const one of frame.detections.filter(isShown)) {
      const id = `${frame.stream_id} ${one.track_id ?? frame.annotated_key}`;
      if (one.confidence > (surest.get(id)?.confidence ?? -1))
        surest.set(id, { confidence: one.confidence, frame });
    }
  }
  const shown = new Set([...surest.values()].map(({ frame }) => frame));
  return found.filter((frame) => shown.has(frame));
}

export async function everyPage(
  tables: Tables,
  query: Query,
): Promise<{ frames: FoundFrame[]; total: number | undefined }> {
  const first = await tables.search(query);
  const frames = [...first.frames];
  for (let { cursor } = first; cursor !== undefined; ) {
    const page = await tables.search({ ...query, cursor });
    frames.push(...page.frames);
    cursor = page.cursor;
  }
  return { frames, total: first.total };
}

/** The bucket for a run, with a callback before each write. */
export function seenBy(bucket: MemoryBucket, beforeWrite: () => Promise<void>): TableBucket {
  return {
    page: (...args) => bucket.page(...args),
    folders: (prefix) => bucket.folders(prefix),
    read: (key) => bucket.read(key),
    save: (key, path) => bucket.save(key, path),
    put: (object) => beforeWrite().then(() => bucket.put(object)),
    putOver: (object, etag) => beforeWrite().then(() => bucket.putOver(object, etag)),
    merge: (object) => beforeWrite().then(() => bucket.merge(object)),
    remove: (keys) => beforeWrite().then(() => bucket.remove(keys)),
  };
}

export const event = (number: number, more: Partial<SceneEvent> = {}): SceneEvent => ({
  event_id: number.toString(16).padStart(32, '0'),
  type: 'entered_zone',
  rule: 'in',
  stream_id: number % 2 ? 'yard' : 'gate',
  at: START + number * 20 * 60_000,
  track_id: 't-1',
  class_name: 'person',
  zone: 'lawn',
  frames: ['annotated/a.jpg'],
  ...more,
});

export const keep = (bucket: MemoryBucket, one: SceneEvent) =>
  bucket.put({ key: eventKey(one), body: JSON.stringify(one) });

export const allOf = { confidence: 0, from: 0, to: START + 100 * HOUR_MS, limit: 5_000 };
export const seenAs = (class_name: string) => [{ class_name, confidence: 0.9, track: false }];
