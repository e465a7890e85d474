import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DetectedFrame, Detection } from '@video-pipeline/frame';
import { expect, onTestFinished, test } from 'vitest';
import { startFakeServer } from '../../../test/support/fake-server.ts';
import { addDetectionRoutes } from './detection-routes.ts';
import { LiveFrames } from './live.ts';
import { createServer } from './server.ts';
import { StreamsFile } from './streams-file.ts';

const LIST = '- id: door\n  url: rtsp://cam/1 # in the hall\n';
const MODELS = [
  { name: 'small', classes: ['person', 'cat'] },
  { name: 'yard', classes: ['truck'] },
];
const seen = (class_name: string, confidence: number): Detection => ({
  ...{ class_id: 0, class_name, confidence },
  bbox: [10, 10, 50, 90],
});
const FRAME: DetectedFrame = {
  ...{ streamId: 'door', session: 's', frameNumber: 7, capturedAt: 1_700_000_000_000 },
  ...{ width: 100, height: 100, jpeg: Buffer.from('a picture'), model: 'small' },
  detections: [seen('person', 0.9)],
};

/** An inference server that detects a person, and a cat with less confidence; with model `yard`, a truck. */
async function inferenceServer(): Promise<string> {
  const { url, close } = await startFakeServer(({ path, body }) => {
    if (path === '/models') return { body: { models: MODELS } };
    const { model = 'small', frames } = JSON.parse(body.toString());
    expect(Buffer.from(frames[0].frame_data, 'base64').toString()).toBe('a picture');
    const detections = model === 'yard' ? [seen('truck', 0.8)] : [seen('person', 0.9), seen('cat', 0.55)];
    return { body: { model, results: [{ width: 100, height: 100, detections }] } };
  });
  onTestFinished(() => void close());
  return url;
}

async function serve(inferenceUrl: string | undefined) {
  const folder = mkdtempSync(join(tmpdir(), 'detection-routes-'));
  const file = join(folder, 'streams.yaml');
  writeFileSync(file, LIST);
  const live = new LiveFrames();
  const app = createServer('', (error) => expect.unreachable(error.message));
  const streamsFile = new StreamsFile({ STREAMS: undefined, STREAMS_FILE: file });
  addDetectionRoutes(app, { streamsFile, live, inferenceUrl, log: { info() {} } });
  onTestFinished(() => {
    void app.close();
    rmSync(folder, { recursive: true });
  });
  const ask = async (path = '', payload?: object) => {
    const url = `/api/streams/door/detection${path}`;
    const answer = await app.inject(payload ? { method: 'POST', url, payload } : url);
    return { status: answer.statusCode, body: answer.json() };
  };
  return { ask, live, text: () => readFileSync(file, 'utf8') };
}

test('the detection settings may list a thousand classes', async () => {
  const { ask } = await serve(await inferenceServer());
  const classes = Array.from({ length: 1_000 }, (_, id) => `class of things, number ${id}`);
  expect(await ask('', { classes })).toMatchObject({ status: 200, body: { classes } });
  const { status, body } = await ask('', { classes: [...classes, 'x'.repeat(300_000)] });
  expect([status, JSON.stringify(body)]).toEqual([413, expect.stringContaining('over 262144 bytes')]);
});

test('detection settings are listed with the models, previewed on the newest picture, and saved', async () => {
  const { ask, live, text } = await serve(await inferenceServer());
  expect((await ask()).body).toEqual({ models: MODELS, writable: true });
  expect(await ask('/preview', {})).toMatchObject({ status: 404 });
  live.add(FRAME, FRAME.capturedAt + 1);

  const names = async (draft: object) => {
    const { body } = await ask('/preview', draft);
    expect(body.frame.detections).toEqual(FRAME.detections);
    return [body.model, ...body.detections.map(({ class_name }: Detection) => class_name)];
  };
  expect(await names({})).toEqual(['small', 'person', 'cat']);
  expect(await names({ min_confidence: 0.6 })).toEqual(['small', 'person']);
  expect(await names({ classes: ['cat'] })).toEqual(['small', 'cat']);
  expect(await names({ model: 'yard' })).toEqual(['yard', 'truck']);
  expect(text()).toBe(LIST);

  const saved = await ask('', { model: 'yard', classes: ['truck'], min_confidence: 0.6 });
  expect(saved.body).toMatchObject({ model: 'yard', classes: ['truck'], min_confidence: 0.6 });
  expect(text()).toContain('# in the hall');
  expect((await ask()).body).toEqual(saved.body);
  expect(await names({})).toEqual(['yard', 'truck']);
});

test('an unknown model is rejected with the known ones; without a server classes can still be chosen', async () => {
  const { ask, text } = await serve(await inferenceServer());
  const refused = await ask('', { model: 'larger' });
  expect(refused).toMatchObject({ status: 422, body: { error: expect.stringContaining('small, yard') } });
  expect(text()).toBe(LIST);
  const alone = await serve(undefined);
  expect((await alone.ask()).body).toMatchObject({
    models: [],
    problem: expect.stringContaining('INFERENCE'),
  });
  expect(await alone.ask('', { classes: ['person'] })).toMatchObject({ body: { classes: ['person'] } });
  const other = await startFakeServer(() => ({ body: {} }));
  onTestFinished(() => void other.close());
  const stranger = await serve(other.url);
  expect((await stranger.ask()).body).toMatchObject({
    models: [],
    problem: expect.stringContaining('models'),
  });
  stranger.live.add(FRAME, FRAME.capturedAt + 1);
  const unread = { status: 502, body: { error: expect.stringContaining('could not read the picture') } };
  expect(await stranger.ask('/preview', {})).toMatchObject(unread);
  const away = await serve('http://127.0.0.1:9');
  expect((await away.ask()).body.problem).toContain('no answer of the inference server');
});
