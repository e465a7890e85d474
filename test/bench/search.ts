/** `npm run bench:search -- --help`: made-up days of detections, compacted, and what questions of them cost. */
import { performance } from 'node:perf_hooks';
import { openArchiveBucket } from '@video-pipeline/console';
import { annotatedKey, detectionsKey } from '@video-pipeline/frame';
import { createStore } from '@video-pipeline/storage';
import { compact, type Query, Tables } from '@video-pipeline/tables';
import { InvalidArgumentError } from 'commander';
import { startFauxqs } from 'fauxqs';
import { randomOf } from '../support/random.ts';
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

const HOUR_MS = 3_600_000;
const BATCH = 25;
const CLASSES = ['person', 'car', 'bicycle', 'dog', 'truck'];
const START = Date.UTC(2026, 10, 25, 0);
const END = START + hours * HOUR_MS;
const STREAM = 'camera-0';
/** Seen once in all. */
const RARE = { camera: 0, frame: Math.floor((hours * 3_600 * rate) / 3) };

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
const server = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
server.createBucket('video-pipeline-output');
const settings = {
  S3_BUCKET: 'video-pipeline-output',
  AWS_REGION: 'us-east-1',
  AWS_ENDPOINT_URL: `http://127.0.0.1:${server.port}`,
};
const bucket = openArchiveBucket(settings);
const store = createStore(settings);

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
for (let camera = 0; camera < cameras; camera++) {
  for (let first = 0; first < hours * 3_600 * rate; first += BATCH) {
    const body = textOf(camera, first);
    const at = { streamId: `camera-${camera}`, capturedAt: START + Math.round((1_000 * first) / rate) };
    const key = detectionsKey(at, { topic: 'detections', partition: camera, offset: first });
    await store.put({ key, body, contentType: 'application/x-ndjson' });
    objects++;
    bytes += body.length;
  }
}
const frames = objects * BATCH;
console.log(
  `${objects} objects, ${frames} frames, ${frames * boxes} detections, ${(bytes / 1e6).toFixed(0)} MB of NDJSON`,
);

const cpu = process.cpuUsage();
const began = performance.now();
await compact({ ...bucket, ...store }, { now: END + HOUR_MS });
const { user, system } = process.cpuUsage(cpu);
let stored = 0;
for await (const key of bucket.list('tables/')) stored += (await bucket.head(key, 1)).size;
console.log(
  `compacted in ${((performance.now() - began) / 1000).toFixed(1)} s, ${((user + system) / 1000 / frames).toFixed(3)} CPU ms a frame ` +
    `(S3 server included), ${(stored / frames / boxes).toFixed(1)} bytes a detection`,
);

const everything: Query = { confidence: 0, from: START, to: END, limit: 24 };
const questions: Record<string, (tables: Tables) => Promise<string>> = {
  'a class that never occurs': async (tables) =>
    found(await tables.search({ ...everything, classes: ['nothing'] })),
  'a class that occurs once': async (tables) =>
    found(await tables.search({ ...everything, classes: ['unicorn'] })),
  'one track': async (tables) =>
    found(await tables.search({ ...everything, streams: [STREAM], track: 't7-1' })),
  'all, first page': async (tables) => found(await tables.search(everything)),
  'a stream in bins of 2 minutes': async (tables) =>
    `${(await tables.counts([STREAM], { from: START, to: END, binMs: 120_000 })).counts.length} counts`,
};
function found({ frames: shown, total }: { frames: unknown[]; total?: number }): string {
  return `${shown.length} of ${total}`;
}
console.log('| question | cold | warm | warm, CPU | found |\n| --- | --- | --- | --- | --- |');
for (const [name, ask] of Object.entries(questions)) {
  const tables = new Tables(bucket);
  const times: number[] = [];
  const spent: number[] = [];
  let answer = '';
  for (let round = 0; round < 4; round++) {
    const start = performance.now();
    const used = process.cpuUsage();
    answer = await ask(tables);
    times.push(performance.now() - start);
    const { user, system } = process.cpuUsage(used);
    spent.push((user + system) / 1000);
  }
  const [cold = 0, ...warm] = times;
  console.log(
    `| ${name} | ${cold.toFixed(0)} ms | ${Math.min(...warm).toFixed(0)} ms | ${Math.min(...spent.slice(1)).toFixed(0)} ms | ${answer} |`,
  );
  await tables.close();
}
bucket.close();
await server.stop();
