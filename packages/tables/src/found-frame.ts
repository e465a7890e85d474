import type { FrameFacts } from '@video-pipeline/frame';
import type { Row } from './duckdb.ts';
import { mayContainStream, timesOf } from './fitting.ts';
import type { RowGroup } from './footer.ts';
import { COLUMNS, FRAME_ID, type FrameTable } from './schema.ts';
import type { Sources } from './sources.ts';
import { IN_RANGE } from './sql.ts';

export interface FoundFrame extends FrameFacts {
  annotated_key: string;
  /** Position of the picture, with `STORE=archive`. */
  archive?: { key: string; offset: number; length: number };
}

export async function detailsOf(
  { database, rows, signal }: Sources,
  keys: readonly Row[],
): Promise<FoundFrame[]> {
  if (keys.length === 0) return [];
  const ids = keys.map((key) => ({
    stream_id: String(key.stream_id),
    captured_at: Number(key.captured_at),
    frame_number: Number(key.frame_number),
  }));
  const times = ids.map(({ captured_at }) => captured_at);
  const range = { from: Math.min(...times), to: Math.max(...times) + 1 };
  const values = { from: String(range.from), to: String(range.to), ids: JSON.stringify(ids) };
  const mayMatch = (group: RowGroup) => {
    const { from, to } = timesOf(group);
    return ids.some(
      (id) => id.captured_at >= from && id.captured_at < to && mayContainStream(group, id.stream_id),
    );
  };
  const streams = ids.map(({ stream_id }) => stream_id);
  const read = (table: FrameTable) =>
    rows({ table, columns: Object.keys(COLUMNS[table]), range, streams, mayMatch });
  const shown = async (table: FrameTable) => `SELECT t.* FROM (${await read(table)}) t
    SEMI JOIN (SELECT unnest(from_json($ids, '${ID_TYPE}'), recursive := true)) USING (${FRAME_ID})
    WHERE ${IN_RANGE}`;
  const [ofFrames, ofDetections] = await Promise.all([shown('frames'), shown('detections')]);
  const [frames, detections] = await Promise.all([
    database.run(ofFrames, signal, values),
    database.run(`${ofDetections} ORDER BY position`, signal, values),
  ]);
  const byFrame = Map.groupBy(detections, idOf);
  const found = new Map(frames.map((row) => [idOf(row), row]));
  return ids.flatMap((id) => {
    const row = found.get(idOf(id));
    return row ? [frameOf(row, byFrame.get(idOf(id)) ?? [])] : [];
  });
}

/** Type of the frames' ids, which are bound as JSON text. */
const ID_TYPE = '[{"stream_id":"VARCHAR","captured_at":"BIGINT","frame_number":"BIGINT"}]';

function idOf({ stream_id, captured_at, frame_number }: Row): string {
  return `${stream_id} ${captured_at} ${frame_number}`;
}

function frameOf(row: Row, rows: readonly Row[]): FoundFrame {
  const {
    objects,
    stored_at,
    archive_key: key,
    archive_offset: offset,
    archive_length: length,
    ...facts
  } = row;
  const detections = rows.map((one) => {
    const { class_id, class_name, confidence, x1, y1, x2, y2, track_id, zones, polygon, keypoints } = one;
    return {
      ...{ class_id, class_name, confidence, bbox: [x1, y1, x2, y2] },
      ...(track_id === null ? {} : { track_id }),
      ...(Array.isArray(zones) && zones.length > 0 ? { zones } : {}),
      // As JSON text: a table's columns are the same for models with and without them.
      ...(polygon === null ? {} : { polygon: JSON.parse(String(polygon)) }),
      ...(keypoints === null ? {} : { keypoints: JSON.parse(String(keypoints)) }),
    };
  });
  const archive = key === null ? {} : { archive: { key, offset: Number(offset), length: Number(length) } };
  const [frame_number, captured_at] = [Number(facts.frame_number), Number(facts.captured_at)];
  return { ...facts, frame_number, captured_at, ...archive, detections } as FoundFrame;
}
