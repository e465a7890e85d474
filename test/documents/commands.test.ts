import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CLIPS, cacheDir, defaultModelPath, fetchAsset } from '@video-pipeline/assets';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { copyRepository } from '../support/copy-repository.ts';
import { BESIDE, type Run, STARTS } from './commands.ts';

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
  await copyFile(defaultModelPath(), join(root, 'candidate.onnx'));
  kafka = JSON.parse(up.output.slice(up.output.indexOf('{'))).endpoints.kafka;
  const isStored = async () =>
    expect((await shell('npm run local -- s3-list')).output).toContain('annotated/yard/');
  await vi.waitFor(isStored, { timeout: 60_000 });
});

/** A failed record, as a stage stores it. `failed -- list` runs before it is there. */
async function failRecord(key: string): Promise<void> {
  const jpeg = await sharp({ create: { width: 64, height: 48, channels: 3, background: 'grey' } })
    .jpeg()
    .toBuffer();
  const headers = [{ 'stream-id': [...Buffer.from('yard')] }];
  const record = { topic: 'video-frames', partition: 3, offset: 4711, timestamp: 1795590000900, headers };
  const entry = { stage: 'detect', code: 'PICTURE_INVALID', reason: 'is grey', time: '2026-11-25T07:00:00Z' };
  const path = join(root, '.data/s3/video-pipeline-output', key);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, JSON.stringify({ ...entry, record: { ...record, value: jpeg.toString('base64') } }));
}
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
    .replace('CONSOLE_PORT=8081', 'CONSOLE_PORT=0')
    .replace('PORT=8001', 'PORT=0')
    .replace('--from ...', `--from ${new Date(now - 3_600_000).toISOString()}`)
    .replace('--to ...', `--to ${new Date(now).toISOString()}`);
}

test.each(Object.entries(BESIDE))('%s', async (command, run) => {
  const [key] = /failed\/detect\/\S+/.exec(command) ?? [];
  if (key) await failRecord(key);
  const { output, ended } = await shell(tried(command), run);
  expect(output).toMatch(run.prints);
  expect(ended, output).toBe(run.endless ? 'when stopped' : 0);
  if (run.writes) expect(await readFile(join(root, run.writes[0]), 'latin1')).toMatch(run.writes[1]);
});

test.each(Object.entries(STARTS))('%s', async (command, run) => {
  const own = `${tried(command)}${/ -- /.test(command) ? '' : ' --'} --ports auto --data-dir own`;
  const { output, ended } = await shell(own, run);
  expect(output).toMatch(run.prints);
  expect(ended, output).toBe(run.endless ? 'when stopped' : 0);
});
