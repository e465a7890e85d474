/**
 * `npm run bench:search-page -- --help`: what the largest pages of a search cost the process that answers them. The tables are written
 * by DuckDB, in the compactor's form. To see them in the console's task, start it in a cgroup of half a CPU and 1 GiB.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { HOUR_MS, hourFolder } from '@video-pipeline/frame';
import { Tables } from '@video-pipeline/tables';
import { openDatabase } from '../../packages/tables/src/duckdb.ts';
import { FORM } from '../../packages/tables/src/merge.ts';
import { manifestKey, partOf, tableKey } from '../../packages/tables/src/schema.ts';
import { startBucket } from './bucket.ts';
import { npmScript, positiveInteger } from './options.ts';

const { hours } = npmScript(
  'bench:search-page',
  'Writes tables of 160 MB an hour, and asks questions of all of them.',
)
  .option(
    '--hours <number>',
    'hours of 16 cameras, 8 detections in each of 10 frames a second',
    positiveInteger,
    1,
  )
  .parse()
  .opts<{ hours: number }>();

const START = Date.UTC(2026, 10, 25);
/** One for each part of an hour. */
const STREAMS = [
  ...Map.groupBy(
    Array.from({ length: 200 }, (_, n) => `camera-${n}`),
    partOf,
  ).values(),
].map(([first]) => String(first));

const { bucket, store, stop } = await startBucket();

const FRAME = `'s' AS "session", f AS frame_number, $begin::BIGINT + 100 * f AS captured_at, 'nanodet-g' AS model,
  format('annotated/{}/{}/{}-{}.jpg', $stream, $hour, $begin::BIGINT + 100 * f, f) AS annotated_key`;
const TABLES = {
  frames: `SELECT $stream AS stream_id, ${FRAME}, 1280 AS width, 720 AS height, 8 AS objects, $begin::BIGINT AS stored_at
    FROM range(36_000) t(f)`,
  detections: `SELECT $stream AS stream_id, ${FRAME}, i::INTEGER AS position, i::INTEGER AS class_id,
    ['person', 'car', 'bicycle', 'dog', 'truck'][1 + floor(5 * random())::INTEGER] AS class_name, 0.5 + random() / 2 AS confidence,
    1100 * random() AS x1, 500 * random() AS y1, 1100 * random() AS x2, 500 * random() AS y2, format('t{}-{}', f // 100, i) AS track_id
    FROM range(36_000) t(f), range(8) u(i)`,
};
const writer = await openDatabase();
let bytes = 0;
for (let hour = 0; hour < hours; hour++) {
  for (const stream of STREAMS) {
    const begin = START + hour * HOUR_MS;
    const folder = hourFolder(begin);
    const path = join(writer.folder, 'table.parquet');
    for (const table of ['frames', 'detections'] as const) {
      await writer.run(`COPY (${TABLES[table]}) TO '${path}' (${FORM})`, undefined, {
        stream,
        hour: folder,
        begin: String(begin),
      });
      const body = await readFile(path);
      bytes += body.length;
      const key = tableKey(table, folder, partOf(stream));
      await store.put({ key, body, contentType: 'application/vnd.apache.parquet' });
    }
    const manifest = {
      key: manifestKey(folder, partOf(stream)),
      body: '{}',
      contentType: 'application/json',
    };
    await store.put(manifest);
    await store.put({ ...manifest, key: `detections/${stream}/none` });
  }
}
await writer.close();

const range = { from: START, to: START + hours * HOUR_MS };
const query = { confidence: 0, limit: 24, ...range };
const questions: Record<string, (tables: Tables) => Promise<unknown>> = {
  'a class that never occurs': (tables) => tables.search({ ...query, classes: ['nothing'] }),
  'a fifth of all, first page': (tables) => tables.search({ ...query, classes: ['dog'] }),
  'all, first page': (tables) => tables.search(query),
  'a histogram of a class': (tables) => tables.histogram({ ...query, classes: ['dog'] }, 60_000),
  'the timeline': (tables) => tables.history([], { ...range, binMs: 360_000 }, 30_000),
  'one result a track': (tables) => tables.search({ ...query, classes: ['dog'], perTrack: true }),
};
console.log(
  `${Math.round(bytes / 1024 ** 2)} MiB of tables, ${hours * STREAMS.length * 288_000} detections\n`,
);
console.log(
  '| question | cold | its CPU time | warm | its CPU time | memory |\n| --- | --- | --- | --- | --- | --- |',
);
for (const [name, ask] of Object.entries(questions)) {
  const tables = new Tables(bucket);
  await tables.warm();
  const costs: string[] = [];
  for (let round = 0; round < 2; round++) {
    const [began, cpu] = [performance.now(), process.cpuUsage()];
    await ask(tables);
    const { user, system } = process.cpuUsage(cpu);
    costs.push(
      `${((performance.now() - began) / 1_000).toFixed(2)} s | ${((user + system) / 1e6).toFixed(2)} s`,
    );
  }
  await tables.close();
  console.log(
    `| ${name} | ${costs.join(' | ')} | ${Math.round(process.memoryUsage.rss() / 1024 ** 2)} MiB |`,
  );
}
await stop();
