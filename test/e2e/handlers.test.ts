import { annotatedKey, encodeFrame, type Frame } from '@video-pipeline/frame';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { startFaultProxy } from '../faults/fault-proxy.ts';
import { unique } from '../support/unique.ts';
import { PERSON, type Rig, SIZE, startRig } from './handlers-rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterEach(() => rig.reset());
afterAll(() => rig?.stop());

/** Topics and folders of a test's own. */
function names() {
  const id = unique('handlers');
  const frames = `${id}-frames`;
  const detections = `${id}-detections`;
  const env = { KAFKA_DETECTIONS_TOPIC: detections, S3_PREFIX: `${id}-annotated` };
  return { frames, detections, env, prefix: env.S3_PREFIX };
}

const keysOf = (prefix: string, frames: readonly Frame[]) =>
  frames.map((frame) => annotatedKey(prefix, frame)).sort();

async function stored(prefix: string, frames: readonly Frame[]) {
  await vi.waitFor(async () => expect(await rig.keys(`${prefix}/`)).toEqual(keysOf(prefix, frames)), {
    timeout: 60_000,
    interval: 200,
  });
}

/** Frame numbers by stream, in the order in which they lie in the topic. */
async function readNumbers(topic: string, count: number): Promise<Record<string, number[]>> {
  const consumer = rig.kafka.consumer({ groupId: `${topic}-reader`, maxWaitTimeInMs: 100 });
  const numbers: Record<string, number[]> = {};
  let left = count;
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise<void>((resolve) => {
    void consumer.run({
      eachMessage: async ({ message: { key, headers } }) => {
        const stream = String(key);
        numbers[stream] = [...(numbers[stream] ?? []), Number(headers?.frame_number)];
        if (--left === 0) resolve();
      },
    });
  });
  await consumer.disconnect();
  return numbers;
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

test('every frame is stored, annotated and in order, although the inference server and S3 fail in many ways', async ({
  onTestFinished,
}) => {
  const { frames: topic, detections, env, prefix } = names();
  await rig.createTopics([topic, detections]);
  rig.faults.push(
    { status: 500, body: 'out of memory' },
    { reset: true },
    { body: '<html>garbage</html>' },
    { body: { model_name: 'fake', outputs: [{ name: 'detections', data: ['{}'] }] } },
    { body: { model_name: 'fake', outputs: [] } },
  );
  const s3 = await startFaultProxy(rig.s3Url, { isTarget: (method) => method === 'PUT' });
  onTestFinished(() => s3.close());
  // The SDK asks three times by itself.
  for (const status of [503, 503, 503, 503, 500, 403])
    s3.arm({ do: 'answer', status, body: `<Error><Code>of ${status}</Code></Error>` });
  s3.arm({ do: 'reset' });
  s3.arm({ do: 'reset after' });
  const faulty = { ...env, AWS_ENDPOINT_URL: s3.url };
  await Promise.all([rig.run('detect', topic, [], env), rig.run('annotate', detections, [], faulty)]);
  const frames = await rig.publishFrames(topic, ['gate', 'yard', 'hall'], 40);
  await stored(prefix, frames);

  expect(rig.faults).toEqual([]);
  expect(s3.armed()).toBe(0);
  expect(await readNumbers(detections, frames.length)).toEqual({
    gate: upTo(40),
    yard: upTo(40),
    hall: upTo(40),
  });
  expect(await rig.keys('failed/')).toEqual([]);
  const lines: { stream_id: string; frame_number: number; annotated_key: string; detections: unknown }[] = [];
  for (const key of await rig.keys('detections/')) {
    lines.push(
      ...String(await rig.read(key))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    );
  }
  expect(lines.map((line) => line.annotated_key).sort()).toEqual(keysOf(prefix, frames));
  for (const line of lines) expect(line.detections).toEqual([PERSON]);

  const { data, info } = await sharp(await rig.read(keysOf(prefix, frames)[0] ?? ''))
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect(info).toMatchObject(SIZE);
  const red = (x: number, y: number) => {
    const at = (y * info.width + x) * info.channels;
    return (data[at] ?? 0) - (data[at + 1] ?? 0);
  };
  expect(red(PERSON.bbox[0], 120)).toBeGreaterThan(80);
  expect(Math.abs(red(PERSON.bbox[0] + 30, 120))).toBeLessThan(15);
});

test('a second process gets its share of the partitions, and all of them when the first one stops', async () => {
  const { frames: topic, detections, env } = names();
  await rig.createTopics([topic, detections]);
  const first = await rig.run('detect', topic, [], env);
  await rig.publishFrames(topic, ['gate', 'yard', 'hall', 'roof'], 30);
  await rig.run('detect', topic, [], env);
  await rig.publishFrames(topic, ['gate', 'yard', 'hall', 'roof'], 30);
  first.process.kill('SIGTERM');
  expect((await first.ended).code).toBe(0);
  await rig.publishFrames(topic, ['gate', 'yard', 'hall', 'roof'], 30);
  await vi.waitFor(async () => expect(await rig.lag('detect', topic)).toBe(0), {
    timeout: 30_000,
    interval: 200,
  });
  const numbers = await readNumbers(detections, 360);
  for (const stream of ['gate', 'yard', 'hall', 'roof']) {
    expect([...new Set(numbers[stream])], stream).toEqual(upTo(30));
  }
});

test('a record that can not be processed goes to failed/ completely, and does not block later records', async () => {
  const { frames: topic, detections, env, prefix } = names();
  await rig.createTopics([topic, detections], 1);
  const good = [rig.frame('gate', 0), rig.frame('gate', 2)];
  const broken = { ...rig.frame('gate', 1), jpeg: Buffer.from([0xff, 0xd8, 0xff, 0]) };
  const alien = { key: 'gate', value: Buffer.from('no frame'), headers: { stream_id: 'gate' } };
  await rig.publish(topic, [...[good[0] as Frame, broken, good[1] as Frame].map(encodeFrame), alien]);
  await Promise.all([rig.run('detect', topic, [], env), rig.run('annotate', detections, [], env)]);
  await stored(prefix, good);
  const failed = [`failed/annotate/${detections}-0-1`, `failed/detect/${topic}-0-3`];
  await vi.waitFor(async () => expect(await rig.keys('failed/')).toEqual(failed), { timeout: 10_000 });
  const [fromAnnotate, fromDetect] = await Promise.all(
    failed.map(async (key) => JSON.parse(String(await rig.read(key)))),
  );
  expect(fromAnnotate).toMatchObject({ stage: 'annotate', reason: expect.stringContaining('JPEG') });
  expect(Buffer.from(fromAnnotate.record.value, 'base64')).toEqual(broken.jpeg);
  expect(fromDetect).toMatchObject({ stage: 'detect', reason: expect.stringContaining('frame_number') });
  expect(Buffer.from(fromDetect.record.value, 'base64')).toEqual(alien.value);
});

test('SIGTERM ends a process within its grace period, with all processed records committed', async () => {
  const { frames: topic, detections, env } = names();
  await rig.createTopics([topic, detections]);
  const detect = await rig.run('detect', topic, [], env);
  await rig.publishFrames(topic, ['gate'], 50);
  await vi.waitFor(async () => expect(await rig.lag('detect', topic)).toBe(0), { timeout: 20_000 });
  const told = performance.now();
  detect.process.kill('SIGTERM');
  expect(await detect.ended).toMatchObject({ code: 0 });
  expect(performance.now() - told).toBeLessThan(4500);
  expect(await rig.lag('detect', topic)).toBe(0);
});

test('a batch that always fails goes to the on-failure destination, and the next one is delivered', async () => {
  const { frames: topic, detections, env } = names();
  await rig.createTopics([topic, detections], 1);
  const away = { ...env, INFERENCE_SERVICE_URL: 'http://127.0.0.1:1' };
  const destination = ['--on-failure', 's3://video-pipeline-output/dead', '--max-retries', '1'];
  await rig.run('detect', topic, [...destination, '--batch-size', '10'], away);
  await rig.publishFrames(topic, ['gate'], 20);
  await vi.waitFor(async () => expect(await rig.lag('detect', topic)).toBe(0), { timeout: 20_000 });
  const dead = await rig.keys('dead/');
  // The first record's timestamp ends each key: a new cluster counts its offsets from 0 again.
  expect(dead.map((key) => key.replace(/-\d{13}$/, ''))).toEqual([`dead/${topic}-0-0`, `dead/${topic}-0-10`]);
  const { requestContext, payload } = JSON.parse(String(await rig.read(dead[0] ?? '')));
  expect(requestContext).toMatchObject({ condition: 'RetryAttemptsExhausted', approximateInvokeCount: 2 });
  expect(JSON.parse(payload).records[`${topic}-0`]).toHaveLength(10);
});

test.each<[string, string[], NodeJS.ProcessEnv, RegExp]>([
  [
    'an invalid variable of the handler',
    ['--handler', 'functions/src/detect.ts', '--topic', 'x', '--group', 'x'],
    { INFERENCE_SERVICE_URL: 'secret' },
    /^INFERENCE_SERVICE_URL /,
  ],
  [
    'an invalid variable of the event source',
    ['--handler', 'functions/src/detect.ts', '--topic', 'x', '--group', 'x'],
    { BATCH_SIZE: '0' },
    /^BATCH_SIZE /,
  ],
  [
    'a missing topic',
    ['--handler', 'functions/src/detect.ts', '--topic', 'nowhere', '--group', 'x'],
    {},
    /^topic 'nowhere'/,
  ],
  [
    'a module without a handler',
    ['--handler', 'functions/src/records.ts', '--topic', 'x', '--group', 'x'],
    {},
    /handler/,
  ],
  [
    'an invalid --on-failure',
    ['--handler', 'x', '--topic', 'x', '--group', 'x', '--on-failure', '/tmp'],
    {},
    /s3:\/\/bucket\/prefix/,
  ],
])('%s ends the process at once with one line that reports the error', async (_what, args, env, line) => {
  const { code, errors } = await rig.runToEnd(args, env);
  expect(code).toBe(1);
  // What kafkajs has to say comes as JSON.
  const lines = errors
    .trim()
    .split('\n')
    .filter((one) => !one.startsWith('{'));
  expect(lines).toEqual([expect.stringMatching(line)]);
  expect(errors).not.toContain('secret');
});
