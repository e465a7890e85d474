import { CANARY_STOPPED_KEY, type Detection, type Frame } from '@video-pipeline/frame';
import {
  type FrameResult,
  type InferenceClient,
  InferenceClientError,
} from '@video-pipeline/inference-client';
import { createReader, createStore } from '@video-pipeline/storage';
import { startFauxqs } from 'fauxqs';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { canaryStopped, countAgreements, withCanary } from './canary.ts';
import { createStopCanary } from './stop-canary.ts';

const frame = (frameNumber: number): Frame => ({
  streamId: 'gate',
  frameNumber,
  session: 's',
  capturedAt: 0,
  width: 100,
  height: 50,
  jpeg: Buffer.from([1]),
});
const frames = [frame(0), frame(1)];
const seen = (class_name: string, ...bbox: Detection['bbox']): Detection => ({
  class_id: 0,
  class_name,
  confidence: 0.9,
  bbox,
});
const good: FrameResult = {
  model: 'old',
  width: 100,
  height: 50,
  detections: [seen('person', 0, 0, 20, 20)],
};
const server = (answer: (index: number) => FrameResult | undefined) => ({
  detect: vi.fn(async (asked: readonly Frame[]) => asked.map((_, index) => answer(index) as FrameResult)),
});

const lines: Record<string, unknown>[] = [];
vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
  lines.push(JSON.parse(String(text)));
  return true;
});
const sums = (variant: string, name: string) =>
  lines
    .filter((one) => one.variant === variant && name in one)
    .reduce((sum, one) => sum + Number(one[name]), 0);

function setUp(canary: InferenceClient, more: Partial<Parameters<typeof withCanary>[0]> = {}) {
  lines.splice(0);
  const main = server(() => good);
  const warn = vi.fn();
  const options = { share: 1, mode: 'canary', isStopped: () => false, logger: { warn } } as const;
  return { main, warn, detector: withCanary({ main, canary, ...options, ...more }) };
}
const answers = async (detector: InferenceClient) =>
  (await detector.detect(frames)).map(({ model }) => model);

describe('a canary', () => {
  const fresh = server(() => ({ ...good, model: 'new' }));

  test('answers its share of the batches, and metrics count both models', async () => {
    let drawn = 0;
    const random = () => (drawn++ % 10) / 10;
    const { detector } = setUp(fresh, { share: 0.1, random });
    const models = [];
    for (let batch = 0; batch < 20; batch++) models.push((await answers(detector))[0]);
    expect(models.filter((model) => model === 'new')).toHaveLength(2);
    expect([sums('canary', 'VariantCalls'), sums('main', 'VariantCalls')]).toEqual([2, 18]);
    expect([sums('canary', 'VariantFrames'), sums('canary', 'VariantDetections')]).toEqual([4, 4]);
    expect(lines[0]).toMatchObject({ service: 'detect', variant: expect.any(String) });
  });

  test.each<[string, InferenceClient]>([
    ['does not answer', { detect: () => Promise.reject(new InferenceClientError('503')) }],
    [
      'refuses one frame of the batch',
      server((index) => (index ? { model: 'new', error: 'no JPEG' } : good)),
    ],
    ['reports another size of a frame', server(() => ({ ...good, width: 99 }))],
    ['returns too few results', server((index) => (index ? undefined : good))],
  ])('that %s loses no frame: the model in use detects in the whole batch', async (_, broken) => {
    const { detector, main, warn } = setUp(broken);
    expect(await answers(detector)).toEqual(['old', 'old']);
    expect(main.detect).toHaveBeenCalledExactlyOnceWith(frames);
    expect([sums('canary', 'VariantErrors'), sums('main', 'VariantErrors')]).toEqual([1, 0]);
    expect(warn).toHaveBeenCalledOnce();
  });

  test.each(['canary', 'shadow'] as const)(
    'gets no frames of a stream that names its model; the model server in use gets them (%s)',
    async (mode) => {
      const asked = vi.fn(fresh.detect);
      const { detector, main } = setUp({ detect: asked }, { mode });
      await detector.detect(frames, 'boats');
      expect(main.detect).toHaveBeenCalledExactlyOnceWith(frames, 'boats');
      expect(asked).not.toHaveBeenCalled();
      expect(lines).toEqual([]);
    },
  );

  test('that was stopped gets no more requests', async () => {
    const { detector } = setUp(fresh, { isStopped: () => true });
    expect(await answers(detector)).toEqual(['old', 'old']);
  });
});

describe('a shadow', () => {
  const shadow = (canary: InferenceClient) => setUp(canary, { mode: 'shadow' });

  test('is compared with the model in use, and its results are not published', async () => {
    const other = [seen('person', 2, 0, 20, 20), seen('car', 50, 0, 70, 20)];
    const { detector } = shadow(server(() => ({ ...good, model: 'new', detections: other })));
    expect(await answers(detector)).toEqual(['old', 'old']);
    await expect.poll(() => sums('canary', 'VariantAgreed')).toBe(2);
    expect([sums('main', 'VariantDetections'), sums('canary', 'VariantDetections')]).toEqual([2, 4]);
  });

  test('that never answers delays no batch, and gets one batch at a time', async () => {
    const never = { detect: vi.fn(() => new Promise<FrameResult[]>(() => {})) };
    const { detector } = shadow(never);
    for (let batch = 0; batch < 3; batch++) expect(await answers(detector)).toEqual(['old', 'old']);
    expect(never.detect).toHaveBeenCalledOnce();
  });

  test("is waited for at the end of a batch for a limited time, in which a frozen Lambda's time does not count", async () => {
    const { promise, resolve } = Promise.withResolvers<FrameResult[]>();
    const slow = { detect: vi.fn(() => promise) };
    const { detector, warn } = setUp(slow, { mode: 'shadow', settleMs: 30 });
    await detector.settle();
    expect(await answers(detector)).toEqual(['old', 'old']);
    await detector.settle();
    expect(warn.mock.lastCall?.[1]).toMatchObject({ message: 'it took over 0.03 s longer than the batch' });
    // The function is frozen here, and goes on.
    resolve([good, good]);
    await promise;
    expect([sums('canary', 'VariantCalls'), sums('canary', 'VariantErrors')]).toEqual([1, 1]);
    expect(sums('canary', 'VariantTime')).toBe(0);
    expect(await answers(detector)).toEqual(['old', 'old']);
    await detector.settle();
    expect([sums('canary', 'VariantAgreed'), sums('canary', 'VariantErrors')]).toEqual([2, 1]);
  });

  test('that fails does not fail the batch, and a batch that fails is not counted as its failure', async () => {
    const { detector, main, warn } = shadow({ detect: () => Promise.reject(new Error('gone')) });
    expect(await answers(detector)).toEqual(['old', 'old']);
    await vi.waitFor(() => expect(warn).toHaveBeenCalledOnce(), 10_000);
    main.detect.mockRejectedValueOnce(new InferenceClientError('503'));
    await expect(detector.detect(frames)).rejects.toThrow('503');
  });
});

test('objects of two models agree by class and box, and each object is counted once', () => {
  const of = (...detections: Detection[]): FrameResult[] => [{ ...good, detections }];
  const person = seen('person', 0, 0, 20, 20);
  expect(countAgreements(of(person, person), of(person))).toBe(1);
  expect(countAgreements(of(person), of(seen('person', 30, 0, 50, 20)))).toBe(0);
  expect(countAgreements(of(person), of(seen('dog', 0, 0, 20, 20)))).toBe(0);
  expect(countAgreements([{ model: 'm', error: 'no JPEG' }], of(person))).toBe(0);
});

test('an alarm stops the canary in each function; an OK state or an unreachable bucket does not', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  const s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  onTestFinished(() => s3.stop());
  s3.createBucket('store');
  const AWS_ENDPOINT_URL = `http://127.0.0.1:${s3.port}`;
  const settings = { S3_BUCKET: 'store', AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL };
  const stop = createStopCanary(createStore(settings));
  const alarm = (value: string) => ({
    time: '2026-11-28T12:00:00Z',
    alarmData: { alarmName: 'CanaryErrors', state: { value, reason: 'over 0.05' } },
  });
  const reader = createReader(settings);
  let away = false;
  const read = (key: string) => (away ? Promise.reject(new Error('503')) : reader.read(key));
  const isStopped = canaryStopped({ read }, 0);
  // Until the bucket has answered, nothing is risked.
  expect(isStopped()).toBe(true);
  await stop(alarm('OK'));
  await expect.poll(isStopped, { timeout: 10_000 }).toBe(false);
  away = true;
  isStopped();
  await expect.poll(isStopped, { timeout: 10_000 }).toBe(false);
  away = false;
  await stop(alarm('ALARM'));
  await expect.poll(isStopped, { timeout: 10_000 }).toBe(true);
  const mark = JSON.parse(String(await reader.read(CANARY_STOPPED_KEY)));
  expect(mark).toMatchObject({ alarm: 'CanaryErrors', reason: 'over 0.05' });
});
