import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CLIPS, cacheDir, fetchAsset } from '@video-pipeline/assets';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { copyRepository } from '../support/copy-repository.ts';
import { documents } from '../support/documents.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

/** Its commands are for AWS, and run with what stands in for it. */
const OF_AWS = 'docs/deploy.md';
/** Commands that other files run: the file, and words by which they are found there. */
const ELSEWHERE: Record<string, readonly [file: string, has: string]> = {
  'npm install && npm start': ['test/bare-machine.sh', 'npm install'],
  'npm test': ['.ci/run', 'npm test'],
  'npm start -- --model yolov8n.onnx': ['test/e2e/start.test.ts', "'--model'"],
  'npm start -- --brokers 3': ['test/faults/cluster.test.ts', 'brokers: 3'],
  'OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 npm start': [
    'test/e2e/stack.test.ts',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
  ],
  "npm run probe -- --discover --user 'admin:${CAMERA_PASSWORD}'": [
    'ingest-host/src/onvif.test.ts',
    'discover(',
  ],
  "npm run probe -- 'onvif://admin:${CAMERA_PASSWORD}@10.0.0.7'": [
    'ingest-host/src/onvif.test.ts',
    'profilesOf(',
  ],
  'npm run bench:search': ['package.json', '"bench:search"'],
  'npm run bench:search-page': ['package.json', '"bench:search-page"'],
};

interface Run {
  prints: RegExp;
  /** It runs until it is stopped: by Ctrl-C, once it has printed that. */
  endless?: true;
}

const SEARCH_CSV = /^stream_id,.*captured_at/m;
/** Commands that run here, beside a stack that has stored some frames. */
const BESIDE: Record<string, Run> = {
  'npm run local -- up': { prints: /http/ },
  'npm run local -- console': { prints: /^http:\/\/127\.0\.0\.1:\d+/m },
  'npm run local -- kafka-stats': { prints: /video-frames/ },
  'npm run local -- test-inference': { prints: /test-inference\.jpg/ },
  'npm run local -- s3-list': { prints: /annotated\/yard\// },
  'npm run local -- env': { prints: /AWS_ENDPOINT_URL=/ },
  'npm run producer -- --rtsp-url rtsp://camera/stream --kafka-bootstrap localhost:9092 --kafka-topic video-frames':
    { prints: /"FramesPublished":\[?[1-9]/, endless: true },
  'npm run probe -- rtsp://camera/stream': { prints: /h264/ },
  'npm run probe -- rtsp://admin:p%40ss@10.0.0.7/h264': { prints: /h264/ },
  'npm run audit': { prints: /accounted/ },
  'npm run audit -- --ingest-log .data/logs/ingest.log': { prints: /accounted/ },
  'npm run failed -- list': { prints: /nothing has failed/ },
  'npm run cameras -- list': { prints: /yard/ },
  'npm run scene -- replay --stream yard --streams edited.yaml --from ... --to ...': {
    prints: /[1-9]\d* frames of 'yard'/,
  },
  'npm run scene -- replay --stream gate --streams edited.yaml --from 2026-11-25T00:00:00Z --to 2026-11-26T00:00:00Z':
    { prints: /frames of 'gate'/ },
  'npm run scene -- replay --stream gate --streams edited.yaml detections.ndjson --json': {
    prints: /0 frames of 'gate'/,
  },
  'npm run search -- --class person --from 2026-11-25T07:00:00Z --format csv': { prints: SEARCH_CSV },
  'npm run search -- --class person --class dog --from 2026-11-25T07:00:00Z --to 2026-11-25T08:00:00Z --format csv':
    { prints: /./ },
  'npm run search -- --zone lawn --one-per-track --format parquet > visitors.parquet': { prints: /./ },
  'npm run search -- --stream yard --track mjx0f2a8-0 --format coco > yard.json': { prints: /./ },
  'npm run search -- --class dog --format yolo-tar > dogs.tar': { prints: /./ },
  'npm run compact -- --once': { prints: /compacted/ },
  'npm run replay -- --from 2026-11-25T07:00:00Z --to 2026-11-25T08:00:00Z': { prints: /./ },
  'CONSOLE_TOKEN_FILE=/var/lib/console/token CONSOLE_URL=https://cameras.example/video npm run console': {
    prints: /the console asks for this token/,
    endless: true,
  },
};
/** Commands that start a stack of their own. */
const STARTS: Record<string, Run> = {
  'npm start -- --help': { prints: /--source/ },
  "npm start -- --source 'rtsp://user:${PASSWORD}@camera/stream'": { prints: /console: http/, endless: true },
  'npm start -- --source @camera.txt': { prints: /console: http/, endless: true },
  "npm start -- --source 'recordings/*.mp4'": { prints: /annotated/ },
  'npm start -- --frames 300 --json': { prints: /"annotated": ?\d+/ },
};

function commandsOf(file: string): string[] {
  const blocks = [...read(file).matchAll(/^\s*```(?:bash|sh)\n(.*?)^\s*```/gms)];
  return blocks.flatMap(([, text = '']) => {
    const lines = text.split('\n').flatMap((line) => line.replace(/\s+#\s.*$/, '').trim() || []);
    // Lines that set variables belong to the command below them.
    return lines
      .join('\n')
      .replaceAll(/^([A-Z_]+=\S+)\n/gm, '$1 ')
      .split('\n');
  });
}

const documented = new Set(documents.filter((file) => file !== OF_AWS).flatMap(commandsOf));

test('each command of the documents is run by a test', () => {
  const known = [BESIDE, STARTS, ELSEWHERE].flatMap(Object.keys);
  expect([...documented].filter((command) => !known.includes(command))).toEqual([]);
  expect(known.filter((command) => !documented.has(command))).toEqual([]);
});

test.each(Object.entries(ELSEWHERE))('%s is run by another test', (_command, [file, has]) => {
  expect(read(file)).toContain(has);
});

let root: string;
let cameras: Cameras;
let kafka: string;
const running = new Set<ChildProcess>();

/** Runs a line as a person's shell does; of an endless one, stops it as Ctrl-C does. */
async function shell(line: string, { endless, prints = /./ }: Partial<Run> = {}) {
  const isOurs = (name: string) => !/^(npm_|VITEST|NODE_OPTIONS$|INIT_CWD$)/.test(name);
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => isOurs(name))),
    VIDEO_PIPELINE_CACHE: cacheDir(),
    STREAMS_FILE: join(root, 'streams.yaml'),
    BATCH_TIMEOUT_SECONDS: '1',
    CONSOLE_PORT: '0',
    PASSWORD: 'secret',
  };
  const child = spawn('bash', ['-c', line], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  let stopped = false;
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text) => {
      output += text;
      if (!endless || stopped || !prints.test(output)) return;
      stopped = true;
      process.kill(-(child.pid ?? Number.NaN), 'SIGINT');
    });
  running.add(child);
  const [code, signal] = await once(child, 'close');
  running.delete(child);
  return { output, ended: stopped ? 'when stopped' : (code ?? signal) };
}

const scene = {
  zones: {
    lawn: {
      polygon: [
        [0, 0],
        [1, 0],
        [1, 1],
        [0, 1],
      ],
    },
  },
};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'documented-'));
  copyRepository(root);
  const [clip = ''] = await fetchAsset(CLIPS, () => {});
  cameras = await startCameras({ clips: { stream: clip } });
  const url = `${cameras.url}/stream`;
  const streams = JSON.stringify(['yard', 'gate'].map((id) => ({ id, url, scene })));
  for (const file of ['streams.yaml', 'edited.yaml']) await writeFile(join(root, file), streams);
  await writeFile(join(root, 'camera.txt'), url);
  await writeFile(join(root, 'detections.ndjson'), '');
  await mkdir(join(root, 'recordings'));
  await copyFile(clip, join(root, 'recordings/one.mp4'));
  const up = await shell('FRAME_RATE=1 npm run -s local -- up --ports auto --json');
  expect(up.ended, up.output).toBe(0);
  kafka = JSON.parse(up.output.slice(up.output.indexOf('{'))).endpoints.kafka;
  const isStored = async () =>
    expect((await shell('npm run local -- s3-list')).output).toContain('annotated/yard/');
  await vi.waitFor(isStored, { timeout: 60_000 });
});
afterAll(async () => {
  for (const { pid } of running) if (pid) process.kill(-pid, 'SIGTERM');
  await shell('npm run local -- down');
  await cameras?.close();
  await rm(root, { recursive: true, force: true });
});

/** The command, with what is only an example in the document replaced by what there is. */
function tried(command: string): string {
  const now = Date.now();
  return command
    .replace(/rtsp:\/\/\S*?(camera|10\.0\.0\.7)\/\w+/, `${cameras.url}/stream`)
    .replace('localhost:9092', kafka)
    .replace('/var/lib/console/token', 'token')
    .replace('--from ...', `--from ${new Date(now - 3_600_000).toISOString()}`)
    .replace('--to ...', `--to ${new Date(now).toISOString()}`);
}

test.each(Object.entries(BESIDE))('%s', async (command, run) => {
  const { output, ended } = await shell(tried(command), run);
  expect(output).toMatch(run.prints);
  expect(ended, output).toBe(run.endless ? 'when stopped' : 0);
});

test.each(Object.entries(STARTS))('%s', async (command, run) => {
  const own = `${tried(command)} --ports auto --data-dir own`;
  const { output, ended } = await shell(own, run);
  expect(output).toMatch(run.prints);
  expect(ended, output).toBe(run.endless ? 'when stopped' : 0);
});
