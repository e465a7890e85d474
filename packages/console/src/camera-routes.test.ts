import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { redact } from '@video-pipeline/telemetry';
import { expect, onTestFinished, test, vi } from 'vitest';
import { evenTimes, makeVideo } from '../../../test/support/video.ts';
import { addCameraRoutes } from './camera-routes.ts';
import { createServer } from './server.ts';
import { StreamsFile } from './streams-file.ts';

const DOOR = 'rtsp://admin:secret@127.0.0.1:9/1';
const SHOWN = redact(DOOR);

function serve() {
  const folder = mkdtempSync(join(tmpdir(), 'camera-routes-'));
  const file = join(folder, 'streams.yaml');
  writeFileSync(file, `- id: door\n  url: ${DOOR}\n`);
  const app = createServer('', () => {});
  addCameraRoutes(app, {
    streamsFile: new StreamsFile({ STREAMS: undefined, STREAMS_FILE: file }),
    log: { info() {} },
  });
  onTestFinished(() => {
    void app.close();
    rmSync(folder, { recursive: true });
    vi.unstubAllEnvs();
  });
  const post = async (payload: object) => {
    const answer = await app.inject({ method: 'POST', url: '/api/cameras/test', payload });
    return { status: answer.statusCode, body: answer.json() };
  };
  return { folder, post };
}

test("a test of a camera returns its stream's facts and first picture, or the error", {
  timeout: 60_000,
}, async () => {
  const { folder, post } = serve();
  const url = await makeVideo(join(folder, 'a.mp4'), { times: evenTimes(30, 10), width: 64, height: 48 });
  const { status, body } = await post({ id: 'new', url });
  expect({ status, ...body }).toMatchObject({ status: 200, codec: 'h264', width: 64, height: 48, fps: 10 });
  expect(Buffer.from(body.picture, 'base64').subarray(0, 3)).toEqual(Buffer.from([0xff, 0xd8, 0xff]));
  // Of a known camera, the stored password is used and not shown.
  const known = await post({ id: 'door', url: SHOWN });
  expect(known).toMatchObject({ status: 422, body: { error: expect.stringContaining('127.0.0.1:9') } });
  expect(known.body.error).not.toContain('secret');
  expect(await post({ id: 'other', url: SHOWN })).toMatchObject({ status: 422 });
});

test('a camera test that fails to start does not block the next test', async () => {
  const { folder, post } = serve();
  vi.stubEnv('TMPDIR', join(folder, 'none'));
  const missing = { id: 'new', url: `rtsp://\${NOT_SET_HERE}/1` };
  expect((await post({ id: 'new', url: 'rtsp://127.0.0.1:9/1' })).status).toBe(502);
  expect(await post({ id: 'new', url: 'rtsp://127.0.0.1:9/1' })).toMatchObject({ status: 502 });
  expect(await post(missing)).toMatchObject({
    status: 422,
    body: { error: expect.stringContaining('NOT_SET_HERE') },
  });
});
