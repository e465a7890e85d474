import type { FrameFacts } from '@video-pipeline/frame';
import type { Row } from './duckdb.ts';
import { mayBeOf, timesOf } from './fitting.ts';
import type { RowGroup } from './footer.ts';
import { COLUMNS, FRAME_ID, type FrameTable } from './schema.ts';
import type { Sources } from './sources.ts';
import { IN_RANGE } from './sql.ts';

export interface FoundFrame extends FrameFacts {
  annotated_key: string;
  /** Where the picture lies, with `STORE=archive`. */
  archive?: { key: string; offset: number; length: number };
}

export async function detailsOf(
  { database, rows }: Sources,
  keys: readonly Row[],
  signal: AbortSignal,
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
    return ids.some((id) => id.captured_at >= from && id.captured_at < to && mayBeOf(group, id.stream_id));
  };
  const streams = ids.map(({ stream_id }) => stream_id);
  const read = (table: FrameTable) =>
    rows({ table, columns: Object.keys(COLUMNS[table]), range, streams, mayMatch });
  const shown = async (table: FrameTable) => `SELECT t.* FROM (${await read(table)}) t
    SEMI JOIN (SELECT unnest(from_json($ids, '${ID_TYPE}'), recursive := true)) USING (${FRAME_ID})
    WHERE ${IN_RANGE}`;
  const [ofFrames, ofDetections] = await Promise.all([shown('frames'), shown('detections')]);
  const [frames, detections] = await Promise.all([
    database.run(ofFrames, values, signal),
    database.run(`${ofDetections} ORDER BY position`, values, signal),
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

function frameOf(row: Row, detections: readonly Row[]): FoundFrame {
  return {
    stream_id: String(row.stream_id),
    session: String(row.session),
    frame_number: Number(row.frame_number),
    captured_at: Number(row.captured_at),
    width: Number(row.width),
    height: Number(row.height),
    model: String(row.model),
    annotated_key: String(row.annotated_key),
    ...(row.archive_key === null
      ? {}
      : {
          archive: {
            key: String(row.archive_key),
            offset: Number(row.archive_offset),
            length: Number(row.archive_length),
          },
        }),
    detections: detections.map(
      ({ class_id, class_name, confidence, x1, y1, x2, y2, track_id, zones, ...details }) => ({
        class_id: Number(class_id),
        class_name: String(class_name),
        confidence: Number(confidence),
        bbox: [Number(x1), Number(y1), Number(x2), Number(y2)],
        ...(track_id === null ? {} : { track_id: String(track_id) }),
        ...(Array.isArray(zones) && zones.length > 0 ? { zones } : {}),
        // As JSON text: a table's columns are the same for models with and without them.
        ...(details.polygon === null ? {} : { polygon: JSON.parse(String(details.polygon)) }),
        ...(details.keypoints === null ? {} : { keypoints: JSON.parse(String(details.keypoints)) }),
      }),
    ),
  };
}
