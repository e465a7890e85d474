import { copyFile, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { HOUR_MS, hourFolder } from '@video-pipeline/frame';
import type { FolderReader, Part } from '@video-pipeline/storage';
import { type Query, Tables } from '@video-pipeline/tables';
import { openDatabase } from '../../packages/tables/src/duckdb.ts';
import { ROW_BYTES } from '../../packages/tables/src/fitting.ts';
import { CLASS_LIST, classesText } from '../../packages/tables/src/footer.ts';
import { FORM } from '../../packages/tables/src/merge.ts';
import { LIMITS } from '../../packages/tables/src/open-hours.ts';
import { manifestKey, PART_NAMES, partOf, tableKey } from '../../packages/tables/src/schema.ts';
import { folderReader } from '../support/folder-reader.ts';

const CAMERAS = Array.from({ length: 1_000 }, (_, n) => `camera-${n}`);
/** Minutes of the hour that are made. */
const MINUTES = 15;
const START = Date.UTC(2026, 10, 25);
const HOUR = hourFolder(START);
const RATE = 10;
const BOXES = 5;
const NAMES = ['person', 'car', 'bicycle', 'dog', 'truck'];

/** Most detections that a page reads, see `fitting.ts`. */
const PAGE_ROWS = LIMITS.fileBytes / ROW_BYTES;

/** Writes what the cameras of one part of an hour saw, in the compactor's form. @returns how many rows */
async function writePart(root: string, part: string): Promise<number> {
  const streams = CAMERAS.filter((id) => partOf(id) === part).sort();
  const database = await openDatabase();
  let written = 0;
  for (const [table, each] of [
    ['frames', 1],
    ['detections', BOXES],
  ] as const) {
    const rows = streams.length * MINUTES * 60 * RATE * each;
    const ofEach = rows / streams.length;
    const frame = `SELECT [${streams.map((id) => `'${id}'`)}][1 + n // ${ofEach}] AS stream_id, 's' AS "session",
      n % ${ofEach} // ${each} AS frame_number, (n % ${each})::INTEGER AS i,
      ${START}::BIGINT + 100 * frame_number + hash(n // ${each}) % 20 AS captured_at FROM range(${rows}) t(n)`;
    const facts = `'nanodet-g' AS model, 'annotated/' || stream_id || '/${HOUR}/' || captured_at || '-' || frame_number || '.jpg' AS annotated_key`;
    const rare =
      part === PART_NAMES[0] ? `stream_id = '${streams[0]}' AND frame_number = 7000 AND i = 0` : 'false';
    const sql = {
      frames: `SELECT stream_id, "session", frame_number, captured_at, 1280 AS width, 720 AS height, ${facts}, ${BOXES} AS objects,
        captured_at + 5000 AS stored_at FROM (${frame})`,
      detections: `SELECT stream_id, "session", frame_number, captured_at, i AS position, i AS class_id,
        CASE WHEN ${rare} THEN 'unicorn' ELSE [${NAMES.map((name) => `'${name}'`)}][1 + floor(5 * random())::INTEGER] END AS class_name,
        0.5 + random() / 2 AS confidence, 1100 * random() AS x1, 500 * random() AS y1, 1100 * random() AS x2, 500 * random() AS y2,
        't' || (frame_number // 100) || '-' || i AS track_id, ${facts} FROM (${frame})`,
    };
    const path = join(root, tableKey(table, HOUR, part));
    await mkdir(dirname(path), { recursive: true });
    const own = join(database.folder, 'part.parquet');
    const classes = `, KV_METADATA {'${CLASS_LIST}': '${classesText(part === PART_NAMES[0] ? [...NAMES, 'unicorn'] : NAMES)}'}`;
    await database.run(`COPY (${sql[table]}) TO '${own}' (${FORM}${table === 'frames' ? '' : classes})`);
    await copyFile(own, path);
    written = rows;
  }
  await database.close();
  return written;
}

/** A bucket of files, which counts what is asked of it. */
class FileBucket implements FolderReader {
  readonly #root: string;
  readonly #files: ReturnType<typeof folderReader>;
  requests = 0;
  bytes = 0;

  constructor(root: string) {
    this.#root = root;
    this.#files = folderReader(root);
  }

  async page(prefix: string) {
    this.requests++;
    const { objects } = await this.#files.page(prefix);
    const sized = objects.map(async ({ key }) => {
      const { size } = await stat(join(this.#root, key));
      return { key, size, etag: 'one', stored: START };
    });
    return { objects: await Promise.all(sized) };
  }

  async folders(prefix: string) {
    this.requests++;
    const { objects } = await this.page('tables/detections/');
    const parts = new Set(objects.map(({ key }) => key.at(-'.parquet'.length - 1)));
    return prefix === 'detections/' ? CAMERAS.filter((id) => parts.has(partOf(id))) : [];
  }

  async read(key: string, part: Part) {
    this.requests++;
    const bytes = await this.#files.read(key, part);
    this.bytes += bytes.length;
    return bytes;
  }

  async save(): Promise<number> {
    throw new Error('no file is read whole');
  }
}

const range = { from: START, to: START + HOUR_MS };
const query: Query = { ...range, confidence: 0, limit: 24 };
const QUESTIONS: Record<string, (tables: Tables) => Promise<unknown>> = {
  'a class that never occurs': (tables) => tables.search({ ...query, classes: ['nothing'] }),
  'a class that occurs once': (tables) => tables.search({ ...query, classes: ['unicorn'] }),
  'a fifth of all, the newest page': (tables) => tables.search({ ...query, classes: ['dog'] }),
  'all, the newest page': (tables) => tables.search(query),
  'one camera in bins of 2 minutes': (tables) =>
    tables.counts([CAMERAS.find((id) => partOf(id) === PART_NAMES[0]) ?? ''], { ...range, binMs: 120_000 }),
};

interface Cost {
  seconds: number;
  cpu: number;
  requests: number;
  bytes: number;
}

/**
 * An hour of a thousand cameras: a quarter of it for one and then two of its sixteen parts, and the line through both. The files are read from
 * the disk: the requests and bytes are those of S3, its time is not in the seconds.
 */
export async function measureBigHour(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'bench-big-hour-'));
  const sizes: { rows: number; costs: Map<string, Cost> }[] = [];
  let rows = 0;
  for (const part of PART_NAMES.slice(0, 2)) {
    rows += await writePart(root, part);
    await mkdir(dirname(join(root, manifestKey(HOUR, part))), { recursive: true });
    await writeFile(join(root, manifestKey(HOUR, part)), '{}');
    const costs = new Map<string, Cost>();
    for (const [name, ask] of Object.entries(QUESTIONS)) costs.set(name, await costOf(root, ask));
    sizes.push({ rows, costs });
  }
  await rm(root, { recursive: true });
  const all = CAMERAS.length * 3_600 * RATE * BOXES;
  const [one, two] = sizes as [(typeof sizes)[0], (typeof sizes)[0]];
  console.log(
    `\nan hour of 1,000 cameras, of which ${((100 * two.rows) / all).toFixed(0)} % was made: cold, by two sizes\n`,
  );
  console.log(
    '| question | made | CPU | requests | read | by the line | CPU | requests | read |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
  );
  for (const [name, cost] of two.costs) {
    const before = one.costs.get(name) as Cost;
    const rows = name.startsWith('a fifth') ? Math.min(all, PAGE_ROWS) : all;
    const at = (of: (cost: Cost) => number) =>
      Math.max(0, of(cost) + ((of(cost) - of(before)) / (two.rows - one.rows)) * (rows - two.rows));
    console.log(
      `| ${name} | ${cost.seconds.toFixed(2)} s | ${cost.cpu.toFixed(2)} s | ${cost.requests} | ${(cost.bytes / 1e6).toFixed(1)} MB | ${at((c) => c.seconds).toFixed(1)} s | ` +
        `${at((c) => c.cpu).toFixed(1)} s | ${at((c) => c.requests).toFixed(0)} | ${(at((c) => c.bytes) / 1e6).toFixed(1)} MB |`,
    );
  }
}

async function costOf(root: string, ask: (tables: Tables) => Promise<unknown>): Promise<Cost> {
  const bucket = new FileBucket(root);
  const tables = new Tables(bucket);
  await tables.warm();
  const [began, before] = [performance.now(), process.cpuUsage()];
  await ask(tables);
  const seconds = (performance.now() - began) / 1_000;
  const { user, system } = process.cpuUsage(before);
  await tables.close();
  return { seconds, cpu: (user + system) / 1e6, requests: bucket.requests, bytes: bucket.bytes };
}
