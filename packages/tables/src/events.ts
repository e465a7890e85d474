import type { SceneEvent } from '@video-pipeline/scene';
import type { Cursor } from './cursor.ts';
import type { Database, Row } from './duckdb.ts';
import type { OpenRows } from './open-hours.ts';
import { COLUMNS } from './schema.ts';
import { inRange, named, oneOf, storedRows } from './sql.ts';

/** Filter of events; times in epoch ms, `from` included, `to` not. A list that is left out or empty accepts all. */
export interface EventQuery {
  streams?: readonly string[] | undefined;
  types?: readonly string[] | undefined;
  classes?: readonly string[] | undefined;
  zones?: readonly string[] | undefined;
  /** Only events with these ids, or all but those. */
  ids?: { only: boolean; of: readonly string[] } | undefined;
  from: number;
  to: number;
  limit: number;
  cursor?: string | undefined;
}

export interface EventPage {
  /** The newest first. */
  events: SceneEvent[];
  /** Present when there is more. */
  cursor?: string;
  /** All that match in the range. */
  total: number;
}

/** Events of these files and of the rows `raw`, which were read after the files were written; each event once. */
function eventRows(paths: readonly string[], raw: string | undefined): string {
  const since = raw ? ` UNION ALL BY NAME FROM ${raw}` : '';
  return `SELECT DISTINCT ON (event_id) * FROM (${storedRows('events', paths)}${since})`;
}

interface EventSources {
  paths: readonly string[];
  open: Pick<OpenRows, 'from' | 'sql'>;
  cursor: Cursor | undefined;
}

/** @returns one event more than asked for, where there is one, and how many match in all */
export async function eventsOf(
  database: Database,
  query: EventQuery,
  { paths, open, cursor }: EventSources,
  signal: AbortSignal,
): Promise<{ events: SceneEvent[]; total: number }> {
  const { ids } = query;
  const lists = { stream_id: query.streams, type: query.types, class_name: query.classes, zone: query.zones };
  const isListed = Object.entries(lists).map(([column, values]) => oneOf(column, column, values));
  const chosen = ids
    ? `event_id ${ids.only ? '' : 'NOT'} IN (SELECT unnest(from_json($ids, '["VARCHAR"]')))`
    : 'true';
  const rows = await database.run(
    `WITH found AS (FROM (${eventRows(paths, open.sql)})
       WHERE ${inRange('"at"')} AND ${isListed.join(' AND ')} AND ${chosen})
     SELECT *, (SELECT count(*) FROM found) AS total FROM found
     WHERE $cursor_at IS NULL OR "at" < $cursor_at::BIGINT OR ("at" = $cursor_at::BIGINT AND event_id > $cursor_id)
     ORDER BY "at" DESC, event_id LIMIT ${Math.trunc(query.limit) + 1}`,
    signal,
    {
      from: String(open.from),
      to: String(query.to),
      ...Object.assign({}, ...Object.entries(lists).map(([column, values]) => named(column, values))),
      ids: JSON.stringify(ids?.of ?? []),
      cursor_at: cursor ? String(cursor.captured_at) : null,
      cursor_id: cursor?.stream_id ?? null,
    },
  );
  return { events: rows.map(eventOf), total: Number(rows[0]?.total ?? 0) };
}

const COUNTS = ['at', 'seconds', 'count'];
const NAMES = Object.keys(COLUMNS.events);

/** The event as it was published: fields that it does not have are absent. */
function eventOf(row: Row): SceneEvent {
  const known = NAMES.filter((name) => row[name] !== null && row[name] !== undefined);
  return Object.fromEntries(
    known.map((name) => [name, COUNTS.includes(name) ? Number(row[name]) : row[name]]),
  ) as SceneEvent;
}
