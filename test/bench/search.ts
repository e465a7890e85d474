/**
 * `npm run bench:search -- --help`: made-up detections, compacted in two steps, and what questions of them cost after each: ours,
 * DuckDB alone for the same answer, Athena's price. DuckDB lists the tables by the same S3 API, as each answer must, and reads them
 * as files. Of open hours no listing is remembered here, as a page remembers it for half a second.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { DuckDBInstance } from '@duckdb/node-api';
import { annotatedKey, detectionsKey, HOUR_MS } from '@video-pipeline/frame';
import { compact, KEPT, type Query, Tables } from '@video-pipeline/tables';
import { InvalidArgumentError } from 'commander';
import pipelineRun from '../../docs/measured/pipeline.json' with { type: 'json' };
import { randomOf } from '../support/random.ts';
import { measureBigHour } from './big-hour.ts';
import { startBucket } from './bucket.ts';
import { npmScript } from './options.ts';

const whole = (text: string) => {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('must be a whole number over 0');
};
const { cameras, hours, rate, boxes } = npmScript(
  'bench:search',
  'Makes up detections in an S3 API in memory, compacts them, and asks questions of them.',
)
  .option('--cameras <number>', 'streams', whole, 2)
  .option('--hours <number>', 'hours of each', whole, 6)
  .option('--rate <number>', 'frames a second', whole, 10)
  .option('--boxes <number>', 'detections in a frame', whole, 5)
  .parse()
  .opts<{ cameras: number; hours: number; rate: number; boxes: number }>();

/** CPU milliseconds of a frame. */
const DETECTING_MS = pipelineRun.fromKafka.cpuMs.detect + pipelineRun.fromKafka.cpuMs.model;
const BATCH = 25;
/** Frames of a page. */
const PAGE = 24;
/** Smaller than by default: fauxqs takes no object over 11 MiB. */
const FILE_BYTES = 5 * 1024 ** 2;
const CLASSES = ['person', 'car', 'bicycle', 'dog', 'truck'];
const START = Date.UTC(2026, 10, 25, 0);
const STREAM = 'camera-0';
/** Seen once in all. */
const RARE = { camera: 0, frame: Math.floor((hours * 3_600 * rate) / 5) };

const { bucket, store, stop } = await startBucket();

function textOf(camera: number, first: number): string {
  const random = randomOf(camera * 1_000_003 + first);
  return Array.from({ length: BATCH }, (_, index) => {
    const number = first + index;
    const frame = {
      streamId: `camera-${camera}`,
      frameNumber: number,
      capturedAt: START + Math.round((1_000 * number) / rate),
    };
    const isRare = camera === RARE.camera && number === RARE.frame;
    const detections = Array.from({ length: boxes }, (_, i) => {
      const [x, y] = [1_100 * random.next(), 500 * random.next()];
      return {
        class_id: i,
        class_name: isRare && i === 0 ? 'unicorn' : CLASSES[random.integer(0, CLASSES.length - 1)],
        confidence: 0.5 + random.next() / 2,
        bbox: [x, y, x + 20 + 100 * random.next(), y + 50 + 150 * random.next()],
        track_id: `t${Math.floor(number / 100)}-${i}`,
      };
    });
    const facts = { session: 's', width: 1280, height: 720, model: 'nanodet-g', detections };
    const line = {
      stream_id: frame.streamId,
      frame_number: number,
      captured_at: frame.capturedAt,
      ...facts,
      annotated_key: annotatedKey('annotated', frame),
    };
    return `${JSON.stringify(line)}\n`;
  }).join('');
}

let objects = 0;
let bytes = 0;
/** Stores what all cameras see from one hour to another. */
async function fill(from: number, to: number): Promise<void> {
  for (let camera = 0; camera < cameras; camera++) {
    for (let first = from * 3_600 * rate; first < to * 3_600 * rate; first += BATCH) {
      const body = textOf(camera, first);
      const at = { streamId: `camera-${camera}`, capturedAt: START + Math.round((1_000 * first) / rate) };
      const key = detectionsKey(at, { topic: 'detections', partition: camera, offset: first });
      await store.put({ key, body, contentType: 'application/x-ndjson' });
      objects++;
      bytes += body.length;
    }
  }
}

/** Brings hours into the tables one by one, as the schedule does. */
async function bringIn(from: number, to: number): Promise<void> {
  const before = objects;
  await fill(from, to);
  const frames = (objects - before) * BATCH;
  let reads = 0;
  const counted = <Args extends unknown[], Done>(work: (...args: Args) => Promise<Done>) => {
    return (...args: Args) => {
      reads++;
      return work(...args);
    };
  };
  const seen = { ...bucket, ...store, read: counted(bucket.read), save: counted(bucket.save) };
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let hour = from + 1; hour <= to; hour++)
    await compact(seen, { now: START + hour * HOUR_MS + 180_000, fileBytes: FILE_BYTES });
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1000 / frames;
  let stored = 0;
  let files = 0;
  for await (const key of bucket.list('tables/')) {
    if (!key.endsWith('.parquet')) continue;
    stored += (await bucket.head(key, 1)).size;
    files++;
  }
  console.log(
    `hours ${from} to ${to}: ${frames} frames compacted in ${((performance.now() - began) / 1000).toFixed(1)} s, ` +
      `${cpuMs.toFixed(3)} CPU ms a frame, ${((100 * cpuMs) / DETECTING_MS).toFixed(2)} % of ` +
      `what detection costs on the CPU; ${Math.round(reads / (to - from))} GETs an hour; all: ${files} files, ` +
      `${(stored / objects / BATCH / boxes).toFixed(1)} bytes a detection`,
  );
}

interface Question {
  ask(tables: Tables, query: Query): Promise<number>;
  /** The same for DuckDB alone: SQL of the frames' ids, of which a page and their number are wanted, or of the bins. */
  hits?: string;
  bins?: string;
  /** Columns that it reads. */
  columns: string[];
  table: 'frames' | 'detections';
}
const ID = ['stream_id', 'captured_at', 'frame_number'];
const hits = (where: string) =>
  `SELECT DISTINCT stream_id, captured_at, frame_number FROM detections WHERE ${where}`;
const searched = async (tables: Tables, query: Query) => (await tables.search(query)).frames.length;
const questions: Record<string, Question> = {
  'a class that never occurs': {
    ask: (tables, query) => searched(tables, { ...query, classes: ['nothing'] }),
    hits: hits("class_name = 'nothing'"),
    columns: [...ID, 'class_name'],
    table: 'detections',
  },
  'a class that occurs once': {
    ask: (tables, query) => searched(tables, { ...query, classes: ['unicorn'] }),
    hits: hits("class_name = 'unicorn'"),
    columns: [...ID, 'class_name'],
    table: 'detections',
  },
  'one track': {
    ask: (tables, query) => searched(tables, { ...query, streams: [STREAM], track: 't7-1' }),
    hits: hits(`stream_id = '${STREAM}' AND track_id = 't7-1'`),
    columns: [...ID, 'track_id'],
    table: 'detections',
  },
  'all, first page': {
    ask: searched,
    hits: 'SELECT stream_id, captured_at, frame_number FROM frames',
    columns: ID,
    table: 'frames',
  },
  'a stream in bins of 2 minutes': {
    ask: async (tables, { from, to }) =>
      (await tables.counts([STREAM], { from, to, binMs: 120_000 })).counts.length,
    bins: `SELECT captured_at // 120000 AS bin, class_name, count(*) FROM detections WHERE stream_id = '${STREAM}' GROUP BY ALL`,
    columns: ['stream_id', 'captured_at', 'class_name'],
    table: 'detections',
  },
};

/** The tables as files, which DuckDB reads by itself. */
async function alone() {
  const folder = await mkdtemp(join(tmpdir(), 'bench-search-'));
  const paths: Record<string, string[]> = { frames: [], detections: [] };
  for (const [table, list] of Object.entries(paths)) {
    for await (const key of bucket.list(`tables/${table}/`)) {
      const path = join(folder, `${table}-${list.length}.parquet`);
      await bucket.save(key, path);
      list.push(`'${path}'`);
    }
  }
  const instance = await DuckDBInstance.create(':memory:', { threads: '2', memory_limit: '512MB' });
  const connection = await instance.connect();
  for (const [table, list] of Object.entries(paths))
    await connection.run(`CREATE VIEW ${table} AS FROM read_parquet([${list}])`);
  const rows = async (sql: string) => (await connection.runAndReadAll(sql)).getRowObjectsJS();
  const page = async (ids: string) => {
    const found = await rows(`${ids} ORDER BY captured_at DESC LIMIT ${PAGE + 1}`);
    if (found.length === 0) return;
    const times = found.map((row) => Number(row.captured_at));
    const near = `captured_at BETWEEN ${Math.min(...times)} AND ${Math.max(...times)}`;
    for (const table of ['frames', 'detections']) await rows(`FROM ${table} WHERE ${near}`);
    if (found.length > PAGE) await rows(`SELECT count(*) FROM (${ids})`);
  };
  return {
    async answer({ hits, bins }: Question): Promise<void> {
      await Promise.all(Object.keys(paths).map((table) => Array.fromAsync(bucket.list(`tables/${table}/`))));
      if (hits) await page(hits);
      else await rows(String(bins));
    },
    /** What Athena reads, bytes: the chunks of the columns. */
    async bytesOf({ table, columns }: Question): Promise<number> {
      const names = columns.map((name) => `'${name}'`).join();
      const [sum] = await rows(
        `SELECT sum(total_compressed_size)::BIGINT AS bytes FROM parquet_metadata([${paths[table]}]) WHERE path_in_schema IN (${names})`,
      );
      return Number(sum?.bytes);
    },
    async close() {
      connection.closeSync();
      instance.closeSync();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Dollars for a byte, and the least that is paid for. */
const ATHENA = { perByte: 5 / 1e12, leastBytes: 10e6 };
const ROUNDS = 5;

interface Measured {
  cold: number;
  warm: number;
  duckdb: number;
  bytes: number;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function measure(until: number): Promise<Map<string, Measured>> {
  const query: Query = { confidence: 0, from: START, to: START + until * HOUR_MS, limit: PAGE };
  const database = await alone();
  const measured = new Map<string, Measured>();
  console.log(
    `\n${objects} objects, ${(bytes / 1e6).toFixed(0)} MB of NDJSON, ${objects * BATCH * boxes} detections\n`,
  );
  console.log('| question | cold | warm | DuckDB alone, warm | times | found | Athena reads |');
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const [name, question] of Object.entries(questions)) {
    const tables = new Tables(bucket, { ...KEPT, openMs: 0 });
    let found = 0;
    const ask = async () => {
      found = await question.ask(tables, query);
    };
    const cold = await timed(ask);
    const times: number[] = [];
    const others: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      times.push(await timed(ask));
      others.push(await timed(() => database.answer(question)));
    }
    await tables.close();
    const [warm, duckdb] = [Math.min(...times), Math.min(...others)];
    const read = await database.bytesOf(question);
    measured.set(name, { cold, warm, duckdb, bytes: read });
    console.log(
      `| ${name} | ${cold.toFixed(0)} ms | ${warm.toFixed(0)} ms | ${duckdb.toFixed(0)} ms | ${(warm / duckdb).toFixed(1)} | ${found} | ` +
        `${(read / 1e6).toFixed(1)} MB, ${(100 * ATHENA.perByte * Math.max(ATHENA.leastBytes, read)).toFixed(4)} cents |`,
    );
  }
  await database.close();
  return measured;
}

const half = Math.max(1, Math.floor(hours / 2));
await bringIn(0, half);
const smaller = await measure(half);
if (hours > half) {
  await bringIn(half, hours);
  extrapolate(smaller, await measure(hours));
}
await stop();
await measureBigHour();

/** By the line through both sizes. */
function extrapolate(one: ReadonlyMap<string, Measured>, two: ReadonlyMap<string, Measured>): void {
  const hour = cameras * 3_600 * rate;
  for (const [what, frames] of [
    ['a month of 10 cameras at 10 frames a second', 30 * 24 * 10 * 36_000],
    ['a day of 1,000 cameras', 24 * 1_000 * 36_000],
  ] as const) {
    const share = (100 * hours * hour) / frames;
    console.log(`\n${what}, of which ${share.toPrecision(2)} % was made: by the two sizes above\n`);
    console.log('| question | warm | cold | Athena |\n| --- | --- | --- | --- |');
    for (const [name, large] of two) {
      const small = one.get(name) as Measured;
      const at = (of: (one: Measured) => number) =>
        of(large) + ((of(large) - of(small)) / ((hours - half) * hour)) * (frames - hours * hour);
      const seconds = (ms: number) => `${(Math.max(0, ms) / 1000).toPrecision(2)} s`;
      const usd =
        ATHENA.perByte *
        Math.max(
          ATHENA.leastBytes,
          at((m) => m.bytes),
        );
      console.log(
        `| ${name} | ${seconds(at((m) => m.warm))} | ${seconds(at((m) => m.cold))} | ${usd.toPrecision(2)} dollars |`,
      );
    }
  }
}
