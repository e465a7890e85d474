import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { detectionsKey } from '@video-pipeline/frame';
import type { Reader } from '@video-pipeline/storage';
import { expect, onTestFinished, test } from 'vitest';
import { addSceneRoutes } from './scene-routes.ts';
import { createServer } from './server.ts';
import { StreamsFile } from './streams-file.ts';

const LIST = '- id: door\n  url: rtsp://cam/1\n- id: yard\n  url: rtsp://cam/2\n';
const NOON = Date.now() - 3_600_000;

/** Somebody walks from left to right, then back: 10 pictures a second, 5 s each way. */
function walk(streamId: string): Reader {
  const lines = Array.from({ length: 100 }, (_, number) => {
    const x = number < 50 ? 250 + 10 * number : 1240 - 10 * number;
    return JSON.stringify({
      stream_id: streamId,
      session: 's',
      frame_number: number,
      captured_at: NOON + 100 * number,
      width: 1000,
      height: 1000,
      detections: [{ class_id: 0, class_name: 'person', confidence: 0.9, bbox: [x - 50, 300, x + 50, 500] }],
    });
  });
  const key = detectionsKey({ streamId, capturedAt: NOON }, { topic: 'd', partition: 0, offset: 7 });
  return {
    page: async (prefix) => ({
      objects: key.startsWith(prefix) ? [{ key, stored: NOON, etag: '', size: 0 }] : [],
    }),
    read: async () => Buffer.from(lines.join('\n')),
  };
}

async function serve(bucket: Reader, previewMs = 6_000) {
  const folder = mkdtempSync(join(tmpdir(), 'scene-routes-'));
  const file = join(folder, 'streams.yaml');
  writeFileSync(file, LIST);
  const streamsFile = new StreamsFile({ STREAMS: undefined, STREAMS_FILE: file });
  const app = createServer('', (error) => expect.unreachable(error.message));
  addSceneRoutes(app, { streamsFile, bucket, prefix: 'annotated', previewMs, log: { info() {} } });
  const base = `${await app.listen({ port: 0, host: '127.0.0.1' })}/api/streams`;
  onTestFinished(() => {
    void app.close();
    rmSync(folder, { recursive: true });
  });
  const post = async (path: string, body: unknown) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${base}/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    return { status: answer.status, body: await answer.json() };
  };
  return { post, text: () => readFileSync(file, 'utf8') };
}

const half = [
  [0.5, 0],
  [1, 0],
  [1, 1],
  [0.5, 1],
];

test('the preview of a zone returns how often its events would have fired, with pictures', async () => {
  const { post, text } = await serve(walk('door'));
  const { status, body } = await post('door/zones/preview', { name: 'room', polygon: half });
  expect(status).toBe(200);
  expect(body).toMatchObject({ frames: 100, count: 2 });
  expect(body.until).toBe(body.to);
  expect(body.events.map(({ type }: { type: string }) => type)).toEqual(['left_zone', 'entered_zone']);
  for (const { frames } of body.events) expect(frames[0]).toMatch(/^annotated\/door\/date=.*\.jpg$/);
  expect(text()).toBe(LIST);
});

test('the preview of a line returns its crossings, and none for a stream without stored frames', async () => {
  const { post } = await serve(walk('door'));
  const gate = { name: 'gate', from: [0.5, 1], to: [0.5, 0] };
  const { body } = await post('door/lines/preview', gate);
  expect(body.events.map(({ direction }: { direction: string }) => direction)).toEqual(['left', 'right']);
  expect((await post('yard/lines/preview', gate)).body).toMatchObject({ frames: 0, count: 0, events: [] });
});

test('a preview rejects an invalid shape with the same error as a save', async () => {
  const { post } = await serve(walk('door'));
  const crossed = [half[0], half[2], half[1], half[3]];
  for (const path of ['door/zones', 'door/zones/preview']) {
    const { status, body } = await post(path, { name: 'room', polygon: crossed });
    expect(status).toBe(422);
    expect(body.error).toMatch(/crosses itself/);
  }
});

test('a preview that exceeds its time budget returns what it found by then', async () => {
  const { read } = walk('door');
  const endless: Reader = {
    page: async (prefix) => ({
      objects: Array.from({ length: 1_000 }, (_, n) => ({
        key: `${prefix}d-0-${n}.ndjson`,
        stored: 0,
        etag: '',
        size: 0,
      })),
    }),
    read: async (key) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return key.includes(new Date(NOON).toISOString().slice(0, 10)) ? read(key) : Buffer.from('');
    },
  };
  const { post } = await serve(endless, 500);
  const { body } = await post('door/zones/preview', { name: 'room', polygon: half });
  expect(body.until).toBeLessThan(body.to);
});
