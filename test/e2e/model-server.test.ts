import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Detection, Frame } from '@video-pipeline/frame';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { heads, suppress } from '../../model/src/heads/index.ts';
import { createHttpClient } from '../../packages/inference-client/src/http.ts';
import { encodeRequest } from '../../packages/inference-client/src/open-inference.ts';
import { writeModel } from '../faults/numbered.ts';
import { hasCommand } from '../support/has-command.ts';
import { clipFrames } from './model-clips.ts';
import { type ModelProcess, startModel } from './model-process.ts';

let server: ModelProcess;
let people: Buffer[];
let blue: Buffer;

beforeAll(async () => {
  server = await startModel(['--device', 'auto']);
  const clips = await clipFrames(40, 2, (scaler, frame) => scaler.toJpeg(frame, { quality: 85 }));
  people = clips.flatMap(({ pictures }) => pictures);
  const background = { r: 0, g: 0, b: 255 };
  blue = await sharp({ create: { width: 640, height: 480, channels: 3, background } })
    .jpeg()
    .toBuffer();
});
afterAll(() => server?.stop());

interface PredictResult {
  frame_number: number;
  width?: number;
  height?: number;
  detections?: Detection[];
  error?: string;
}

function predictBody(pictures: Buffer[], more: object = {}): string {
  const frames = pictures.map((picture, index) => ({
    frame_number: index + 10,
    frame_data: picture.toString('base64'),
  }));
  return JSON.stringify({ stream_id: 'yard', frames, ...more });
}

async function post(path: string, body: string | Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(new URL(path, server.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : new Uint8Array(body),
  });
  return { status: response.status, body: await response.json() };
}

async function get(path: string) {
  const response = await fetch(new URL(path, server.url));
  return { status: response.status, text: await response.text() };
}

const toFrame = (jpeg: Buffer, frameNumber: number): Frame => ({
  ...{ streamId: 'yard', session: 'test', capturedAt: 0, width: 1, height: 1 },
  frameNumber,
  jpeg,
});

test('/health has the model and the device', async () => {
  const { status, text } = await get('/health');
  expect(status).toBe(200);
  expect(JSON.parse(text)).toMatchObject({ status: 'healthy', model: 'nanodet-g', device: 'cpu' });
});

test('/health and a metric have the reason why --device auto chose the CPU', async () => {
  const { device_fallback: reason } = JSON.parse((await get('/health')).text);
  expect(reason).toMatch(/CUDA/);
  const { text } = await get('/metrics');
  expect(text).toContain(`inference_device_fallback_info{model="nanodet-g",reason="${reason}"} 1`);
});

test('a blue picture, as the Python project sends it, has no detections', async () => {
  const { status, body } = await post('/predict', predictBody([blue]));
  expect(status).toBe(200);
  expect(body).toEqual({
    stream_id: 'yard',
    model: 'nanodet-g',
    results: [{ frame_number: 10, width: 640, height: 480, detections: [] }],
  });
});

test('people are detected in each clip, and results have the order of the frames', async () => {
  const { body } = await post('/predict', predictBody(people, { threshold: 0.4 }));
  const results: PredictResult[] = body.results;
  expect(results.map(({ frame_number }) => frame_number)).toEqual([10, 11, 12, 13, 14, 15]);
  expect(results.map(({ width }) => width)).toEqual([400, 400, 400, 400, 360, 360]);
  for (const { detections = [], width = 0, height = 0 } of results) {
    const person = detections.find(({ class_name }) => class_name === 'person');
    expect(person?.confidence).toBeGreaterThan(0.6);
    const [left, top, right, bottom] = person?.bbox ?? [0, 0, 0, 0];
    expect((right - left) * (bottom - top)).toBeGreaterThan(0.1 * width * height);
    expect([left, top].every((side) => side >= 0) && right <= width && bottom <= height).toBe(true);
  }
});

test('an invalid frame gets an error in its place, and the other frames get their results', async () => {
  const truncated = people[0]?.subarray(0, 4000) ?? Buffer.alloc(0);
  const frames = [people[0] ?? blue, truncated, Buffer.alloc(0), people[1] ?? blue];
  const { status, body } = await post('/predict', predictBody(frames));
  expect(status).toBe(200);
  const results: PredictResult[] = body.results;
  expect(results.map(({ error }) => error !== undefined)).toEqual([false, true, true, false]);
  expect(results[3]?.detections?.[0]?.class_name).toBe('person');
});

test.skipIf(!hasCommand('python3'))(
  'examples/infer-v2.py gets the detections, too (needs Python)',
  async ({ onTestFinished }) => {
    const folder = await mkdtemp(join(tmpdir(), 'infer-v2-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'people.jpg');
    await writeFile(file, people[0] ?? '');
    const script = join(import.meta.dirname, '../../examples/infer-v2.py');
    const env = { ...process.env, INFERENCE_SERVICE_URL: server.url };
    const { stdout } = await promisify(execFile)('python3', [script, file], { env });
    expect(stdout).toMatch(/^person 0\.\d+ \[\d+, \d+, \d+, \d+\]$/m);
  },
);

test('pictures of each kind and size get upright results, and so does the next request', async () => {
  const plain = (width: number, height: number) =>
    sharp({ create: { width, height, channels: 3, background: '#203040' } });
  const kinds = [
    plain(64, 48).png(),
    plain(64, 48).toColourspace('b-w').jpeg(),
    plain(64, 48).toColourspace('cmyk').jpeg(),
    plain(64, 48).withMetadata({ orientation: 6 }).jpeg(),
    plain(1, 1).jpeg(),
    plain(7680, 4320).jpeg(),
  ];
  const pictures = await Promise.all(kinds.map((kind) => kind.toBuffer()));
  const { status, body } = await post('/predict', predictBody(pictures));
  expect(status).toBe(200);
  expect(body.results.map(({ width, height, error }: PredictResult) => [width, height, error])).toEqual([
    ...Array.from({ length: 3 }, () => [64, 48, undefined]),
    [48, 64, undefined],
    [1, 1, undefined],
    [7680, 4320, undefined],
  ]);
  expect((await post('/predict', predictBody([blue]))).body.results[0].detections).toEqual([]);
});

test('invalid base64 is an error of its frame', async () => {
  const body = JSON.stringify({ stream_id: 'a', frames: [{ frame_number: 1, frame_data: '!!no base64!!' }] });
  const answer = await post('/predict', body);
  expect(answer.body.results).toEqual([{ frame_number: 1, error: expect.stringContaining('base64') }]);
});

test.each([
  ['invalid JSON', '{"stream_id"'],
  ['no frames', JSON.stringify({ stream_id: 'a' })],
  ['a frame without data', JSON.stringify({ stream_id: 'a', frames: [{ frame_number: 1 }] })],
  ['a threshold over 1', JSON.stringify({ stream_id: 'a', frames: [], threshold: 3 })],
])('a body with %s is rejected with 400', async (_name, body) => {
  const answer = await post('/predict', body);
  expect(answer.status).toBe(400);
  expect(answer.body.error).toEqual(expect.any(String));
});

test('the inference client and /predict get the same detections', async () => {
  const detector = createHttpClient({ url: server.url, timeoutMs: 20_000, threshold: 0.4 });
  const viaProtocol = await detector.detect(people.map(toFrame));
  const { body } = await post('/predict', predictBody(people, { threshold: 0.4 }));
  const viaPredict = (body.results as PredictResult[]).map(({ detections }) => detections);
  expect(viaProtocol.map((result) => 'detections' in result && result.detections)).toEqual(viaPredict);
});

test("the Open Inference Protocol's endpoints describe the server and its model", async () => {
  expect((await get('/v2/health/live')).status).toBe(200);
  expect((await get('/v2/health/ready')).status).toBe(200);
  expect((await get('/v2/models/nanodet-g/ready')).status).toBe(200);
  expect(JSON.parse((await get('/v2')).text).extensions).toContain('binary_tensor_data');
  expect(JSON.parse((await get('/v2/models/nanodet-g')).text)).toMatchObject({
    name: 'nanodet-g',
    inputs: [{ name: 'image', datatype: 'BYTES', shape: [-1] }],
    outputs: [{ name: 'detections', datatype: 'BYTES', shape: [-1] }],
  });
  const { models } = JSON.parse((await get('/models')).text);
  expect(models).toMatchObject([{ name: 'nanodet-g', head: 'yolov8' }]);
  expect([models[0].classes.length, models[0].classes[0]]).toEqual([80, 'person']);
  const missing = await get('/v2/models/other');
  expect(missing.status).toBe(404);
  expect(JSON.parse(missing.text).error).toContain('nanodet-g');
});

test("a client that sends a tensor gets the model's outputs, as from Triton", async () => {
  const { input, output } = JSON.parse((await get('/v2/models/nanodet-g/config')).text);
  const [{ name, dims }] = input;
  expect(dims).toEqual([-1, 3, -1, -1]);
  const [height, width] = [416, 416];
  const { data } = await sharp(people[0])
    .resize(width, height, { fit: 'fill' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const values = new Float32Array(data.length);
  for (const [at, byte] of data.entries())
    values[(at % 3) * width * height + Math.floor(at / 3)] = byte / 255;
  const infer = async (more: object, asked = output[0].name) => {
    const parameters = { binary_data_size: values.byteLength };
    const outputs = [{ name: asked, parameters: { binary_data: true } }];
    const tensor = { name, datatype: 'FP32', shape: [1, 3, height, width], parameters, ...more };
    const header = Buffer.from(JSON.stringify({ inputs: [tensor], outputs }));
    const answer = await fetch(new URL('/v2/models/nanodet-g/infer', server.url), {
      method: 'POST',
      headers: { 'inference-header-content-length': String(header.length) },
      body: Buffer.concat([header, new Uint8Array(values.buffer)]),
    });
    return { answer, bytes: Buffer.from(await answer.arrayBuffer()) };
  };
  const { answer, bytes } = await infer({});
  const headerLength = Number(answer.headers.get('inference-header-content-length'));
  const { outputs } = JSON.parse(bytes.subarray(0, headerLength).toString());
  const raw = new Float32Array(new Uint8Array(bytes.subarray(headerLength)).buffer);
  const found = heads.yolov8.decode([{ ...outputs[0], dims: outputs[0].shape, data: raw }], 0, {
    ...{ threshold: 0.4, inputWidth: width, inputHeight: height },
  });
  const [best] = suppress(found, { iou: 0.7, classAgnostic: false, maxDetections: 1 });
  const png = await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
  const { body } = await post('/predict', predictBody([png], { threshold: 0.4 }));
  const [{ class_id, confidence, bbox }] = body.results[0].detections;
  expect(best?.classId).toBe(class_id);
  expect(best?.score).toBeCloseTo(confidence, 3);
  for (const [side, value] of bbox.entries()) expect(best?.box[side]).toBeCloseTo(Math.max(0, value), 1);
  for (const [wrong, reason] of [
    [{ shape: [1, height, width, 3] }, 'the model takes'],
    [{ name: 'frames' }, "'image' and"],
    [{ parameters: {} }, 'binary_data_size'],
  ] as const) {
    const refused = await infer(wrong);
    expect([refused.answer.status, refused.bytes.toString()]).toEqual([400, expect.stringContaining(reason)]);
  }
  expect((await infer({}, 'boxes')).bytes.toString()).toContain("no output 'boxes'");
});

test('a model is served also under its version, and an unknown version is not found', async () => {
  const { versions } = JSON.parse((await get('/v2/models/nanodet-g')).text);
  const path = `/v2/models/nanodet-g/versions/${versions[0]}`;
  expect(JSON.parse((await get(path)).text).versions).toEqual(versions);
  expect((await get(`${path}/ready`)).status).toBe(200);
  const data = [blue.toString('base64')];
  const input = { name: 'image', datatype: 'BYTES', shape: [1], data };
  const infer = (at: string, more: object = {}) =>
    post(at, JSON.stringify({ inputs: [{ ...input, ...more }] }));
  expect((await infer(`${path}/infer`)).body.model_version).toBe(versions[0]);
  const other = await infer('/v2/models/nanodet-g/versions/1/infer');
  expect([other.status, other.body.error]).toEqual([404, expect.stringContaining(versions[0])]);
  const noBase64 = await infer(`${path}/infer`, { data: ['!!no base64!!'] });
  expect([noBase64.status, noBase64.body.error]).toEqual([400, expect.stringContaining('data[0]')]);
  const outputs = [{ name: 'boxes' }];
  const unknown = await post(`${path}/infer`, JSON.stringify({ inputs: [input], outputs }));
  expect([unknown.status, unknown.body.error]).toEqual([400, expect.stringContaining('"boxes"')]);
});

test('a wrong method gets 405 with Allow, and a compressed body gets 415', async () => {
  const wrong = await fetch(new URL('/predict', server.url));
  expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
  const model = await fetch(new URL('/v2/models/nanodet-g', server.url), { method: 'DELETE' });
  expect([model.status, model.headers.get('allow')]).toEqual([405, expect.stringContaining('GET')]);
  expect((await get('/nowhere')).status).toBe(404);
  const packed = await post('/predict', predictBody([blue]), { 'content-encoding': 'gzip' });
  expect([packed.status, packed.body.error]).toEqual([415, expect.stringContaining('gzip')]);
});

test('/openapi.json describes each endpoint for inference', async () => {
  const { openapi, paths } = JSON.parse((await get('/openapi.json')).text);
  expect(openapi).toMatch(/^3\./);
  expect(Object.keys(paths)).toEqual(
    expect.arrayContaining(['/predict', '/invocations', '/v2/models/{model}/infer', '/health', '/metrics']),
  );
  const { requestBody } = paths['/v2/models/{model}/infer'].post;
  expect(Object.keys(requestBody.content)).toEqual(['application/json', 'application/octet-stream']);
  expect(Object.keys(paths['/predict'].post.responses)).toEqual(
    expect.arrayContaining(['200', '413', '429']),
  );
});

test("SageMaker's endpoints serve: /ping, and /invocations with JSON and with binary bodies", async () => {
  expect((await get('/ping')).status).toBe(200);
  const json = await post('/invocations', predictBody([blue]));
  expect(json.body.results).toHaveLength(1);

  const { headerLength, body } = encodeRequest([toFrame(people[0] ?? blue, 0)], 0.4);
  const type = `application/vnd.sagemaker-triton.binary+json;json-header-size=${headerLength}`;
  const binary = await post('/invocations', body, { 'content-type': type });
  expect(binary.status).toBe(200);
  expect(JSON.parse(binary.body.outputs[0].data[0]).detections[0].class_name).toBe('person');

  const picture = await post('/invocations', people[0] ?? blue, { 'content-type': 'image/jpeg' });
  expect(picture.body.results[0].detections[0].class_name).toBe('person');
});

test('/metrics has the numbers of frames, batches and steps', async () => {
  await post('/predict', predictBody([blue]));
  const { text } = await get('/metrics');
  expect(text).toMatch(/inference_frames_total\{result="detected"\} [1-9]/);
  expect(text).toMatch(/inference_step_seconds_count\{step="inference"\} [1-9]/);
  expect(text).toMatch(/inference_model_info\{model="nanodet-g",version="\w+",device="cpu"\} 1/);
  expect(text).toMatch(/process_resident_memory_bytes \d/);
  // As `promtool check metrics` has it: only a counter's name ends so.
  const gauges = [...text.matchAll(/^# TYPE (\w+) gauge$/gm)].map(([, name]) => name ?? '');
  expect(gauges.length).toBeGreaterThan(5);
  expect(gauges.filter((name) => name.endsWith('_total'))).toEqual([]);
});

test('a request whose deadline has passed gets 504, and the next request gets its result', async () => {
  const many = Array.from({ length: 20 }, () => people).flat();
  const late = await post('/predict', predictBody(many), { 'x-request-timeout-ms': '20' });
  expect(late.status).toBe(504);
  expect((await post('/predict', predictBody([blue]))).status).toBe(200);
});

test('frames of a disconnected client are not inferred', async () => {
  const gone = new AbortController();
  const many = Array.from({ length: 20 }, () => people).flat();
  const before = await framesInferred();
  const request = fetch(new URL('/predict', server.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: predictBody(many),
    signal: gone.signal,
  });
  setTimeout(() => gone.abort(), 150);
  await expect(request).rejects.toThrow();
  expect((await post('/predict', predictBody([blue]))).status).toBe(200);
  expect((await framesInferred()) - before).toBeLessThan(many.length);
});

test("onnxruntime's telemetry is off, and writes no device id", async () => {
  const home = await mkdtemp(join(tmpdir(), 'model-home-'));
  const folder = await mkdtemp(join(tmpdir(), 'model-'));
  const model = join(folder, 'small.onnx');
  await writeModel(model);
  // On CI, which it knows by this variable, it would be off anyway.
  const quiet = await startModel(['--threads', '1', '--model', model], {
    HOME: home,
    XDG_CACHE_HOME: undefined,
    CI: undefined,
  });
  await quiet.stop();
  expect(await readdir(home, { recursive: true })).toEqual([]);
  for (const one of [home, folder]) await rm(one, { recursive: true });
});

async function framesInferred(): Promise<number> {
  return Number(/inference_batch_size_sum (\d+)/.exec((await get('/metrics')).text)?.[1]);
}
