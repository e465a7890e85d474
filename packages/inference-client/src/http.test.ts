import { setTimeout } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { Detection, Frame } from '@video-pipeline/frame';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type FakeAnswer,
  type ReceivedCall,
  readBinaryRequest,
  startFakeServer,
} from '../../../test/support/fake-server.ts';
import { bisecting } from './bisect.ts';
import { InferenceClientError } from './client.ts';
import { createHttpClient } from './http.ts';

const frame = (frameNumber: number, streamId = 'gate', session = 's'): Frame => ({
  streamId,
  frameNumber,
  session,
  capturedAt: 0,
  width: 100,
  height: 50,
  jpeg: Buffer.from(`jpeg ${streamId} ${session} ${frameNumber}`),
});
const frames = [frame(0), frame(1), frame(7, 'yard')];

const person = (bbox: Detection['bbox'], confidence = 0.9): Detection => ({
  class_id: 0,
  class_name: 'person',
  confidence,
  bbox,
});

let close: (() => Promise<unknown>) | undefined;
afterEach(() => close?.());

async function detectorOn(answer: (call: ReceivedCall) => FakeAnswer | Promise<FakeAnswer>, more = {}) {
  const server = await startFakeServer(answer);
  close = server.close;
  const detector = createHttpClient({ url: server.url, timeoutMs: 2000, threshold: 0.5, ...more });
  return { server, detector, paths: () => server.calls.map(({ path }) => path) };
}

const health = { body: { status: 'healthy', model: 'nano det' } };
const INFER = '/v2/models/nano%20det/infer';
const oip = (...items: unknown[]) => ({
  body: {
    model_name: 'nano det',
    outputs: [
      {
        name: 'detections',
        datatype: 'BYTES',
        shape: [items.length],
        data: items.map((item) => JSON.stringify(item)),
      },
    ],
  },
});
const seen = (...detections: Detection[]) => ({ width: 100, height: 50, detections });

describe('a server with the Open Inference Protocol', () => {
  test('gets requests for the wanted model, or for its default model if the wanted one is missing', async () => {
    const { detector, paths } = await detectorOn(({ path }) => {
      if (path === '/health') return health;
      return path.includes('gone') ? { status: 404, body: { error: 'no model' } } : oip(seen());
    });
    await detector.detect([frame(0)], 'yard/2');
    expect(paths()).toEqual(['/v2/models/yard%2F2/infer']);
    await detector.detect([frame(0)], 'gone');
    expect(paths().slice(1)).toEqual(['/v2/models/gone/infer', '/health', INFER]);
  });

  test('gets each JPEG unchanged and the threshold, and results have the order of the frames', async () => {
    const { server, detector, paths } = await detectorOn(({ path }) =>
      path === '/health' ? health : oip(seen(person([1, 2, 3, 4])), { error: 'not a JPEG' }, seen()),
    );
    expect(await detector.detect(frames)).toEqual([
      { model: 'nano det', ...seen(person([1, 2, 3, 4])) },
      { model: 'nano det', error: 'not a JPEG' },
      { model: 'nano det', ...seen() },
    ]);
    await detector.detect(frames);
    expect(paths()).toEqual(['/health', INFER, INFER]);
    const call = server.calls[1] as ReceivedCall;
    const { header, jpegs } = readBinaryRequest(
      call,
      Number(call.headers['inference-header-content-length']),
    );
    expect(jpegs).toEqual(frames.map(({ jpeg }) => jpeg));
    expect(call.headers['x-client-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(server.calls[2]?.headers['x-client-id']).toBe(call.headers['x-client-id']);
    expect(header).toEqual({
      inputs: [
        {
          name: 'image',
          shape: [3],
          datatype: 'BYTES',
          parameters: { binary_data_size: jpegs.reduce((sum, jpeg) => sum + 4 + jpeg.length, 0) },
        },
      ],
      parameters: { threshold: 0.5 },
    });
  });

  test('boxes are clipped to the picture, and boxes outside of it or below the threshold are dropped', async () => {
    const { detector } = await detectorOn(({ path }) =>
      path === '/health'
        ? health
        : oip(seen(person([-5, -5, 120, 60]), person([100, 0, 130, 9]), person([0, 0, 9, 9], 0.49))),
    );
    expect(await detector.detect([frame(0)])).toEqual([
      { model: 'nano det', ...seen(person([0, 0, 100, 50])) },
    ]);
  });

  test('a class name that ends within a character is repaired, since JSON readers would reject it', async () => {
    const cut = { ...person([0, 0, 9, 9]), class_name: 'dog \ud83d' };
    const { detector } = await detectorOn(({ path }) => (path === '/health' ? health : oip(seen(cut))));
    const mended = { ...cut, class_name: 'dog \ufffd' };
    expect(await detector.detect([frame(0)])).toEqual([{ model: 'nano det', ...seen(mended) }]);
  });

  test('results with the checksum of another picture are rejected', async () => {
    let order = [0, 1];
    const { detector } = await detectorOn(({ path }) =>
      path === '/health' ? health : oip(...order.map((at) => ({ ...seen(), crc32: crc32(frame(at).jpeg) }))),
    );
    expect(await detector.detect([frame(0), frame(1)])).toHaveLength(2);
    order = [1, 0];
    await expect(detector.detect([frame(0), frame(1)])).rejects.toThrow(/item 0 is of another picture/);
  });

  test("the model's name is requested again after the server replaced its model", async () => {
    let name = 'old';
    const { detector, paths } = await detectorOn(({ path }) => {
      if (path === '/health') return { body: { model: name } };
      return path === `/v2/models/${name}/infer` ? oip(seen()) : { status: 404 };
    });
    await detector.detect([frame(0)]);
    name = 'new';
    await detector.detect([frame(1)]);
    expect(paths()).toEqual([
      '/health',
      '/v2/models/old/infer',
      '/v2/models/old/infer',
      '/health',
      '/v2/models/new/infer',
    ]);
  });
});

describe('a server with only /predict', () => {
  /** Answers as in the contract. The box's left edge shows which frame the server processed. */
  const predict = ({ body }: ReceivedCall): FakeAnswer => {
    const { stream_id, frames } = JSON.parse(body.toString());
    const results = frames.map(
      ({ frame_number, frame_data }: { frame_number: number; frame_data: string }) => ({
        frame_number,
        ...seen(person([Buffer.from(frame_data, 'base64').length, 0, 90, 9])),
      }),
    );
    return { body: { stream_id, model: 'own', results } };
  };

  test.each([
    ['names a model in /health', health],
    ['has no /health', { status: 404 }],
    ['has another /health', { body: 'OK' }],
  ])('that %s gets one request per stream, and the choice is remembered', async (_what, answer) => {
    const { detector, paths } = await detectorOn((call) => {
      if (call.path === '/predict') return predict(call);
      return call.path === '/health' ? answer : { status: 405 };
    });
    const mixed = [frame(0), frame(3, 'yard-2'), frame(0, 'gate', 'restarted'), frame(1)];
    const expected = mixed.map(({ jpeg }) => ({ model: 'own', ...seen(person([jpeg.length, 0, 90, 9])) }));
    expect(await detector.detect(mixed)).toEqual(expected);
    const before = paths().length;
    expect(await detector.detect(mixed)).toEqual(expected);
    expect(paths().slice(before)).toEqual(['/predict', '/predict']);
  });

  test.each([
    ['results in another order', [1, 0]],
    ['a result too few', [0]],
    ['a result too many', [0, 1, 1]],
    ['the result of another frame', [0, 2]],
  ])('that returns %s is rejected', async (_what, numbers) => {
    const { detector } = await detectorOn(({ path }) =>
      path === '/predict'
        ? { body: { model: 'own', results: numbers.map((frame_number) => ({ frame_number, ...seen() })) } }
        : { status: 404 },
    );
    await expect(detector.detect([frame(0), frame(1)])).rejects.toThrow(InferenceClientError);
  });
});

describe('an invalid response is a retryable error', () => {
  const results: [string, FakeAnswer][] = [
    ['500', { status: 500, body: 'out of memory' }],
    ['a broken connection', { reset: true }],
    ['no JSON', { body: '<html>' }],
    ['an empty object', { body: {} }],
    ['no outputs', { body: { model_name: 'm' } }],
    ['a model without a name', { body: { ...oip(seen(), seen()).body, model_name: '' } }],
    [
      'a name that no record carries',
      { body: { ...oip(seen(), seen()).body, model_name: 'm'.repeat(1025) } },
    ],
    ['one result for two frames', oip(seen())],
    ['three results for two frames', oip(seen(), seen(), seen())],
    ['a result that is no object', oip(seen(), null)],
    ['a result without size', oip(seen(), { detections: [] })],
    ['a result without detections', oip(seen(), { width: 1, height: 1 })],
    ['a box with three sides', oip(seen(), seen(person([1, 2, 3] as never)))],
    ['a confidence over 1', oip(seen(), seen(person([1, 2, 3, 4], 1.1)))],
    [
      'text in the place of numbers',
      { body: { ...oip(seen()).body, outputs: [{ name: 'detections', data: [1, 2] }] } },
    ],
  ];

  test.each(results)('%s', async (_what, answer) => {
    const { detector } = await detectorOn(({ path }) => (path === '/health' ? health : answer));
    const failed = detector.detect([frame(0), frame(1)]);
    await expect(failed).rejects.toThrow(InferenceClientError);
    await expect(failed).rejects.toMatchObject({ status: answer.status });
  });

  test('from a server with neither interface, until the server has one', async () => {
    let status = 404;
    const { detector } = await detectorOn(({ path }) =>
      status === 404 ? { status } : path === '/health' ? health : oip(seen()),
    );
    await expect(detector.detect([frame(0)])).rejects.toMatchObject({
      name: 'InferenceClientError',
      status: 404,
    });
    status = 200;
    await expect(detector.detect([frame(0)])).resolves.toHaveLength(1);
  });

  test("from a proxy that rejects the request for the model's name, so that no frame is rejected", async () => {
    const { detector } = await detectorOn(({ path }) => (path === '/health' ? { status: 400 } : oip(seen())));
    await expect(bisecting(detector).detect([frame(0), frame(1)])).rejects.toThrow(/health answered 400/);
  });

  test('from a server that exceeds the timeout', async () => {
    const never = new Promise<FakeAnswer>(() => {});
    const { detector } = await detectorOn(({ path }) => (path === '/health' ? health : never), {
      timeoutMs: 50,
    });
    await expect(detector.detect([frame(0)])).rejects.toThrow(/no answer from .*infer.*(timeout|aborted)/i);
  });

  test('longer than the limit', async () => {
    const { detector } = await detectorOn(
      ({ path }) => (path === '/health' ? health : oip('x'.repeat(5000))),
      {
        maxResponseBytes: 1000,
      },
    );
    await expect(detector.detect([frame(0)])).rejects.toThrow(InferenceClientError);
  });

  test('but a connection that the server closed while idle is opened again', async () => {
    let resets = 0;
    const { detector } = await detectorOn(({ path }) => {
      if (path !== '/health' && resets-- > 0) return { reset: true };
      return path === '/health' ? health : oip(seen());
    });
    await detector.detect([frame(0)]);
    // During a request, a broken connection is the server's fault, and is not tried again here.
    resets = 1;
    await expect(detector.detect([frame(0)])).rejects.toThrow(InferenceClientError);
    await setTimeout(1_100);
    resets = 1;
    await expect(detector.detect([frame(0)])).resolves.toHaveLength(1);
    await setTimeout(1_100);
    resets = 2;
    await expect(detector.detect([frame(0)])).rejects.toThrow(InferenceClientError);
  });

  test('and a connection is closed after its maximum age, so that new servers get requests', async () => {
    const { detector, server } = await detectorOn(({ path }) => (path === '/health' ? health : oip(seen())), {
      connectionMs: 50,
    });
    await detector.detect([frame(0)]);
    await setTimeout(80);
    await detector.detect([frame(0)]);
    await detector.detect([frame(0)]);
    expect(new Set(server.calls.map(({ port }) => port)).size).toBeGreaterThan(1);
  });

  test('from a refused connection, with the address in the error', async () => {
    const detector = createHttpClient({ url: 'http://127.0.0.1:1', timeoutMs: 1000, threshold: 0.5 });
    await expect(detector.detect([frame(0)])).rejects.toThrow(/127\.0\.0\.1:1.*ECONNREFUSED/);
  });
});
