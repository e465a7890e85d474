// What /openapi.json promises beside what the server really answers, good and bad.
import { Ajv } from 'ajv';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeRequest } from '../../packages/inference-client/src/open-inference.ts';
import { type ModelProcess, startModel } from './model-process.ts';

interface Content {
  content: { 'application/json': { schema: object } };
}
interface Operation {
  requestBody?: Content;
  responses: Record<string, Content>;
}

let server: ModelProcess;
let paths: Record<string, Record<string, Operation>>;
let jpeg: Buffer;
const ajv = new Ajv({ strict: false });

beforeAll(async () => {
  server = await startModel(['--device', 'auto', '--threads', '1'], { MAX_REQUEST_FRAMES: '2' });
  paths = (await (await fetch(new URL('/openapi.json', server.url))).json()).paths;
  const picture = sharp({ create: { width: 64, height: 48, channels: 3, background: '#204060' } });
  jpeg = await picture.jpeg().toBuffer();
});
afterAll(() => server?.stop());

const JSON_TYPE = { 'content-type': 'application/json' };
const predict = (frames: number, frameData = jpeg.toString('base64')) =>
  JSON.stringify({
    stream_id: 'a',
    frames: Array.from({ length: frames }, (_, index) => ({ frame_number: index, frame_data: frameData })),
  });
const binary = (frames: number) => {
  const frame = { streamId: 'a', session: 'a', capturedAt: 0, width: 64, height: 48, jpeg };
  return encodeRequest(
    Array.from({ length: frames }, (_, frameNumber) => ({ ...frame, frameNumber })),
    0.5,
  );
};
const v2 = (frames: number) => {
  const { headerLength, body } = binary(frames);
  return {
    body: new Uint8Array(body),
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': `${headerLength}`,
    },
  };
};

test.each<[string, number, string, string, () => RequestInit]>([
  ['/health', 200, 'get', '/health', () => ({})],
  ['/v2/models/{model}', 200, 'get', '/v2/models/nanodet-g', () => ({})],
  ['/v2/models/{model}', 404, 'get', '/v2/models/other', () => ({})],
  ['/predict', 200, 'post', '/predict', () => ({ headers: JSON_TYPE, body: predict(2) })],
  ['/predict', 200, 'post', '/predict', () => ({ headers: JSON_TYPE, body: predict(1, 'AAAA') })],
  ['/predict', 413, 'post', '/predict', () => ({ headers: JSON_TYPE, body: predict(3) })],
  ['/predict', 400, 'post', '/predict', () => ({ headers: JSON_TYPE, body: '{' })],
  [
    '/predict',
    504,
    'post',
    '/predict',
    () => ({ headers: { ...JSON_TYPE, 'x-request-timeout-ms': '0.001' }, body: predict(2) }),
  ],
  ['/invocations', 200, 'post', '/invocations', () => ({ headers: JSON_TYPE, body: predict(1) })],
  ['/v2/models/{model}/infer', 200, 'post', '/v2/models/nanodet-g/infer', () => v2(2)],
  ['/v2/models/{model}/infer', 413, 'post', '/v2/models/nanodet-g/infer', () => v2(3)],
  ['/v2/models/{model}/infer', 404, 'post', '/v2/models/other/infer', () => v2(1)],
])(
  'the response of %s with status %i matches its schema in /openapi.json (%s %s)',
  async (path, status, method, url, init) => {
    const response = await fetch(new URL(url, server.url), { method, ...init() });
    const answer = await response.json();
    expect(response.status, JSON.stringify(answer)).toBe(status);
    const schema = paths[path]?.[method]?.responses[status]?.content['application/json'].schema ?? false;
    expect(ajv.validate(schema, answer), ajv.errorsText()).toBe(true);
  },
);

test('the server accepts a body exactly if its schema in /openapi.json does', async () => {
  const schema = paths['/predict']?.post?.requestBody?.content['application/json'].schema ?? false;
  for (const body of [predict(1), '{}', '{"stream_id":"a","frames":[{"frame_number":-1,"frame_data":""}]}']) {
    const response = await fetch(new URL('/predict', server.url), {
      method: 'POST',
      headers: JSON_TYPE,
      body,
    });
    expect(response.ok, body).toBe(ajv.validate(schema, JSON.parse(body)));
  }
});
