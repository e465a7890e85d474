import { hourFolder, MAX_TIME } from '@video-pipeline/frame';
import { hashOf } from '@video-pipeline/frame/hues';

/**
 * The columns of the tables, in their order, with their types in Parquet. They are published in docs/tables.md. A
 * change may only add a column at the end. A column never changes its type.
 */
export const COLUMNS = {
  frames: {
    stream_id: 'VARCHAR',
    session: 'VARCHAR',
    frame_number: 'BIGINT',
    captured_at: 'BIGINT',
    width: 'INTEGER',
    height: 'INTEGER',
    model: 'VARCHAR',
    objects: 'INTEGER',
    annotated_key: 'VARCHAR',
    archive_key: 'VARCHAR',
    archive_offset: 'BIGINT',
    archive_length: 'BIGINT',
    stored_at: 'BIGINT',
  },
  detections: {
    stream_id: 'VARCHAR',
    session: 'VARCHAR',
    frame_number: 'BIGINT',
    captured_at: 'BIGINT',
    position: 'INTEGER',
    class_id: 'INTEGER',
    class_name: 'VARCHAR',
    confidence: 'DOUBLE',
    x1: 'DOUBLE',
    y1: 'DOUBLE',
    x2: 'DOUBLE',
    y2: 'DOUBLE',
    track_id: 'VARCHAR',
    model: 'VARCHAR',
    annotated_key: 'VARCHAR',
    zones: 'VARCHAR[]',
    polygon: 'VARCHAR',
    keypoints: 'VARCHAR',
  },
  events: {
    event_id: 'VARCHAR',
    type: 'VARCHAR',
    rule: 'VARCHAR',
    stream_id: 'VARCHAR',
    at: 'BIGINT',
    track_id: 'VARCHAR',
    class_name: 'VARCHAR',
    zone: 'VARCHAR',
    line: 'VARCHAR',
    direction: 'VARCHAR',
    seconds: 'DOUBLE',
    count: 'INTEGER',
    frames: 'VARCHAR[]',
    clip_key: 'VARCHAR',
  },
} as const;

export type TableName = keyof typeof COLUMNS;

/** The tables that are made of the lines of `detections/`. */
export type FrameTable = Exclude<TableName, 'events'>;

/** Folders of a date. */
export const HOURS = Array.from({ length: 24 }, (_, hour) => `hour=${String(hour).padStart(2, '0')}`);

/** Columns that identify a frame, in whichever object its line is. */
export const FRAME_COLUMNS: readonly string[] = ['stream_id', 'captured_at', 'frame_number'];
export const FRAME_ID = FRAME_COLUMNS.join(', ');

/** SQL: whether a row `line` of `fresh` and a row of `old` are of the same frame. */
export function sameFrame(fresh: string): string {
  return `${fresh}.line.stream_id = old.stream_id AND ${fresh}.line.captured_at = old.captured_at
    AND ${fresh}.line.frame_number = old.frame_number`;
}

/** Order of the rows in a file: it lets a reader skip most of the file. */
export const ORDER = {
  frames: FRAME_ID,
  detections: `${FRAME_ID}, position`,
  events: '"at", event_id',
} as const;

/** A line of stored NDJSON with the time of its storing, epoch ms. Of two lines for one frame, the later one counts. */
const LINE = {
  stored_at: 'BIGINT',
  line:
    'STRUCT(stream_id VARCHAR, session VARCHAR, frame_number BIGINT, captured_at BIGINT, width INTEGER, height INTEGER, ' +
    'model VARCHAR, annotated_key VARCHAR, archive STRUCT("key" VARCHAR, "offset" BIGINT, "length" BIGINT), ' +
    'detections STRUCT(class_id INTEGER, class_name VARCHAR, confidence DOUBLE, bbox DOUBLE[], track_id VARCHAR, zones VARCHAR[], ' +
    'polygon VARCHAR, keypoints VARCHAR)[])',
};

/** SQL of the columns of lines that were read. */
export const LINE_COLUMNS = Object.entries(LINE)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ');

/** SQL of the columns of events that were read. */
export const EVENT_COLUMNS = Object.entries(COLUMNS.events)
  .map(([name, type]) => `"${name}" ${type}`)
  .join(', ');

/**
 * Shortest line that is read: a shorter one is neither a frame nor an event. Many of them, each in its JSON wrapper,
 * could exceed the longest string of V8.
 */
const SHORTEST_LINE = 50;

/** The lines of an object as text for {@link readLines} and {@link readEvents}. */
export function datedLines(text: string, storedAt: number): string {
  return text
    .split('\n')
    .filter((line) => line.length >= SHORTEST_LINE)
    .map((line) => `{"stored_at":${storedAt},"line":${line}}\n`)
    .join('');
}

function readJson(files: string, types: Record<string, string>): string {
  const columns = Object.entries(types).map(([name, type]) => `${name}: '${type}'`);
  return `SELECT stored_at, line FROM read_json(${files}, format = 'newline_delimited', ignore_errors = true,
      maximum_object_size = 67108864, columns = {${columns.join(', ')}})`;
}

/** SQL that reads files of events as rows of their table, each event once. What is no event is left out. */
export function readEvents(files: string): string {
  const types = { stored_at: 'BIGINT', line: `STRUCT(${EVENT_COLUMNS})` };
  return `SELECT line.* FROM (SELECT arg_max(line, stored_at) AS line FROM (${readJson(files, types)})
    WHERE len(line.event_id) = 32 AND line.stream_id IS NOT NULL AND line.type IS NOT NULL AND len(line.frames) > 0
      AND line.at BETWEEN 0 AND ${MAX_TIME} GROUP BY line.event_id)`;
}

/** SQL that reads files as rows of `stored_at` and `line`. A line that is no frame is left out. */
export function readLines(files: string): string {
  return `${readJson(files, LINE)}
    WHERE line.stream_id IS NOT NULL AND line.frame_number IS NOT NULL AND line.detections IS NOT NULL
      AND line.captured_at BETWEEN 0 AND ${MAX_TIME}
      AND len(list_filter(line.detections, lambda d: d.class_name IS NULL OR d.confidence IS NULL
        OR len(d.bbox) IS DISTINCT FROM 4)) = 0`;
}

/** SQL that keeps only the newest row of each frame in `from`. */
export function newestOf(from: string): string {
  return `SELECT stored_at, line FROM ${from} QUALIFY row_number() OVER (
    PARTITION BY line.stream_id, line.captured_at, line.frame_number ORDER BY stored_at DESC) = 1`;
}

/** SQL of a table's rows, made from the rows `line` of `from`. */
export const ROWS_OF: Record<FrameTable, (from: string) => string> = {
  frames: (
    from,
  ) => `SELECT line.stream_id, line."session", line.frame_number, line.captured_at, line.width, line.height,
    line.model, len(line.detections)::INTEGER AS objects, line.annotated_key, line.archive."key" AS archive_key,
    line.archive."offset" AS archive_offset, line.archive."length" AS archive_length, stored_at FROM ${from}`,
  detections: (from) => `SELECT line.stream_id, line."session", line.frame_number, line.captured_at,
    i::INTEGER AS position, d.class_id, d.class_name, d.confidence, d.bbox[1] AS x1, d.bbox[2] AS y1, d.bbox[3] AS x2,
    d.bbox[4] AS y2, d.track_id, line.model, line.annotated_key, d.zones,
    d.polygon, d.keypoints
    FROM (SELECT line, unnest(line.detections) AS d, unnest(range(len(line.detections))) AS i FROM ${from})`,
};

/** The part of an hour that a stream belongs to, one hexadecimal digit. */
export function partOf(streamId: string): string {
  return (hashOf(streamId) % PARTS).toString(16);
}

/** Parts of an hour. All rows of a stream are in one part. One Lambda function can process a part of 1,000 cameras. */
const PARTS = 16;
export const PART_NAMES: readonly string[] = Array.from({ length: PARTS }, (_, part) => part.toString(16));

/** Name of the part that holds the events of all streams. */
export const EVENTS = 'events';

/** Fewest days for which NDJSON is kept: each run reads the hours of two days again. */
export const MIN_EXPIRE_DAYS = 3;

/** @param hour `date=.../hour=..` */
export function tableKey(table: FrameTable, hour: string, part: string): string {
  return `tables/${table}/${hour}/part-${part}.parquet`;
}

/** All events of a day are in one file. @param time of that day, epoch ms */
export function eventsKey(time: number): string {
  return `tables/events/${dateFolder(time)}/part-0.parquet`;
}

/** @returns `date=...` */
export function dateFolder(time: number): string {
  return hourFolder(time).split('/')[0] ?? '';
}

/**
 * Key of the list of objects that the tables hold of an hour and part. It has a folder of its own, since Athena reads
 * every object of a table's folder.
 */
export function manifestKey(hour: string, part: string): string {
  return `tables/manifests/${hour}/part-${part}.json`;
}
