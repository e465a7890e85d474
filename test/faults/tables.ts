import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { createReader, createStore } from '@video-pipeline/storage';
import { compact } from '@video-pipeline/tables';
import type { Line } from './accounting.ts';
import type { Rig } from './rig.ts';

/**
 * Differences between the tables and the NDJSON. DuckDB reads the files of both. A last run of the compactor adds what
 * the runs under faults have not compacted.
 * @returns frames that are missing, duplicate, unknown, or have other detections
 */
export async function checkTables({ bucketFolder, storage }: Rig, lines: readonly Line[]): Promise<string[]> {
  await compact({ ...createReader(storage), ...createStore(storage) }, { all: true });
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const database = await instance.connect();
  const rows = async (sql: string): Promise<Record<string, unknown>[]> =>
    (await database.runAndReadAll(sql)).getRowObjectsJS();
  const files = (table: string) =>
    `read_parquet('${join(bucketFolder, 'tables', table)}/*/*/*.parquet', union_by_name = true)`;
  try {
    const frames = await rows(
      `SELECT annotated_key AS key, count(*)::INTEGER AS count, max(objects) AS objects FROM ${files('frames')} GROUP BY ALL`,
    );
    const detections = await rows(
      `SELECT annotated_key AS key, list([class_name, confidence::VARCHAR, x1::VARCHAR, y1::VARCHAR, x2::VARCHAR, y2::VARCHAR]
         ORDER BY position) AS seen FROM ${files('detections')} GROUP BY ALL`,
    );
    const seenBy = new Map(detections.map(({ key, seen }) => [key, seen as unknown[][]]));
    const expected = new Map(lines.map((line) => [line.annotated_key, line.detections]));
    const seenAs = (list: Line['detections']) =>
      JSON.stringify(
        list.map(({ class_name, confidence, bbox }) => [class_name, confidence, ...bbox].map(String)),
      );
    const readAs = (seen: unknown[][] = []) =>
      JSON.stringify(seen.map(([name, ...numbers]) => [name, ...numbers.map(Number)].map(String)));
    const known = new Map(frames.map(({ key, count, objects }) => [key, { count, objects }]));
    return [
      ...[...expected.keys()].filter((key) => !known.has(key)).map((key) => `missing ${key}`),
      ...frames.filter(({ count }) => count !== 1).map(({ key }) => `twice ${key}`),
      ...[...known.keys(), ...seenBy.keys()]
        .filter((key) => !expected.has(String(key)))
        .map((key) => `unknown ${key}`),
      ...[...expected]
        .filter(([key, list]) => {
          const isWhole = known.get(key)?.objects === list.length;
          return known.has(key) && !(isWhole && readAs(seenBy.get(key)) === seenAs(list));
        })
        .map(([key]) => `other detections ${key}`),
    ];
  } finally {
    database.closeSync();
    instance.closeSync();
  }
}
