import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { variables } from '@video-pipeline/config';
import {
  annotatedKey,
  type DetectedFrame,
  encodeDetectedFrame,
  encodeFrame,
  type MSKEvent,
} from '@video-pipeline/frame';
import type { Message } from '@video-pipeline/kafka';
import {
  isEnabled,
  type PipelineStage,
  RECEIVERS,
  STAGES,
  stagesOf,
  type TopicVariable,
} from '@video-pipeline/stages';
import { createReader, createStore, objectsOf } from '@video-pipeline/storage';
import { type FauxqsServer, startFauxqs } from 'fauxqs';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startFakeServer } from './support/fake-server.ts';
import { collectMetrics } from './support/metrics.ts';
import { A_MINUTE, mskEvent } from './support/msk-event.ts';

// What every stage promises, whatever it does: asked of the handler of each row of the table, as Lambda runs it, with a
// bucket, brokers, a model and receivers that can go away at any moment. A new row is asked the same.

collectMetrics();
vi.setConfig({ testTimeout: 60_000 });

/** How many writes are still taken before all that is outside goes away. */
const world = { writesLeft: Number.MAX_SAFE_INTEGER };
const heal = () => {
  world.writesLeft = Number.MAX_SAFE_INTEGER;
};
/** Records and posts that were taken, each once however often it came. */
const taken = new Set<string>();

function take(what: string): boolean {
  if (world.writesLeft <= 0) return false;
  world.writesLeft--;
  taken.add(what);
  return true;
}

vi.mock('@video-pipeline/kafka', async (original) => ({
  ...(await original<typeof import('@video-pipeline/kafka')>()),
  orderedProducer: () => ({
    connect: async () => {},
    async send({ topic, messages }: { topic: string; messages: Message[] }) {
      for (const { key, headers, value } of messages) {
        // Where a record lies is told by its picture's reference too, and is not what is compared.
        const told = JSON.stringify([topic, String(key), headers, String(value)]);
        if (!take(told.replace(/("offset.{1,3}:)\d+/, '$1'))) throw new Error('no broker answers');
      }
      return [];
    },
  }),
}));

// A width for which a clip always has the same bytes: see `encodeClip`.
const [width, height] = [256, 144];
const SECOND = 1_000;
const BUCKET = 'bucket';
const capturedAt = Date.now() - 60 * SECOND;
const detections: DetectedFrame['detections'] = [
  { class_id: 0, class_name: 'person', confidence: 0.9, bbox: [1, 2, 30, 40] },
];
let jpeg: Buffer;
let s3: FauxqsServer;
const stops: (() => unknown)[] = [];

/** Two seconds of a stream. */
const frames = () =>
  [0, 1, 2].map((frameNumber) => ({
    ...{ streamId: 'gate', session: 's', width, height, jpeg, detections, model: 'm' },
    ...{ frameNumber, capturedAt: capturedAt + frameNumber * SECOND },
  }));

/** Good records of each topic. */
const records: Record<TopicVariable, () => Parameters<typeof mskEvent>[1][number][number][]> = {
  KAFKA_TOPIC: () => frames().map(encodeFrame),
  KAFKA_DETECTIONS_TOPIC: () => frames().map(encodeDetectedFrame),
  KAFKA_EVENTS_TOPIC: () =>
    frames().map((frame) => {
      const event = {
        ...{ event_id: `${frame.frameNumber}`.padStart(32, '0'), type: 'entered_zone', rule: 'r', zone: 'z' },
        ...{ stream_id: 'gate', at: capturedAt + SECOND, track_id: 't', class_name: 'person' },
        frames: [annotatedKey('annotated', frame)],
      };
      return { key: 'gate', value: Buffer.from(JSON.stringify(event)), headers: {} };
    }),
};
const poison = { key: 'gate', value: Buffer.from('{}'), headers: {} };

beforeAll(async () => {
  const background = 'grey';
  jpeg = await sharp({ create: { width, height, channels: 3, background } })
    .jpeg()
    .toBuffer();
  s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  s3.createBucket(BUCKET);
  const model = await startFakeServer(({ path, headers, body }) => {
    if (world.writesLeft <= 0) return { status: 503 };
    if (path === '/health') return { body: { model: 'm' } };
    const header = JSON.parse(body.toString('utf8', 0, Number(headers['inference-header-content-length'])));
    const data = Array(header.inputs[0].shape[0]).fill(JSON.stringify({ width, height, detections }));
    return { body: { model_name: 'm', outputs: [{ name: 'detections', data }] } };
  });
  const receiver = await startFakeServer(({ headers, body }) =>
    take(`${headers['webhook-id']} ${body}`) ? {} : { status: 503 },
  );
  const front = await startFront(s3.port);
  stops.push(() => s3.stop(), model.close, receiver.close, front.close);
  Object.assign(process.env, {
    ...{
      POWERTOOLS_LOG_LEVEL: 'SILENT',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_MAX_ATTEMPTS: '1',
    },
    ...{ AWS_ENDPOINT_URL: front.url, S3_BUCKET: BUCKET, KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1' },
    ...{ INFERENCE_SERVICE_URL: model.url, WEBHOOK_ATTEMPTS: '1' },
    ...Object.fromEntries(
      RECEIVERS.filter(({ url }) => variables[url].safeParse(receiver.url).success).map(({ url }) => [
        url,
        receiver.url,
      ]),
    ),
    ...{ EVENT_CLIPS: 'on', CLIP_BEFORE_SECONDS: '1', CLIP_AFTER_SECONDS: '0.5' },
  });
});
afterAll(() => Promise.all(stops.map((stop) => stop())));

/** An S3 API that can go away. */
async function startFront(port: number) {
  const server = createServer((asked, answer) => {
    if (asked.method === 'PUT' ? !take(`s3 ${asked.url}`) : world.writesLeft <= 0)
      return void asked.resume().on('end', () => answer.writeHead(503).end());
    const { method, url: path, headers } = asked;
    const passed = request({ host: '127.0.0.1', port, method, path, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 0, response.headers);
      response.pipe(answer);
    });
    asked.pipe(passed);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => server.close().closeAllConnections();
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

/** The frames around the events are drawn already. */
async function storeFrames(): Promise<void> {
  const store = createStore();
  for (const frame of frames())
    await store.put({ key: annotatedKey('annotated', frame), body: jpeg, contentType: 'image/jpeg' });
}

/** What is outside after the stage's work: the bucket's objects, and what was sent. What failed bears the time. */
async function outside(): Promise<string[]> {
  const reader = createReader();
  const objects: string[] = [];
  for await (const { key, etag } of objectsOf(reader, ''))
    objects.push(key.startsWith('failed/') ? key : `${key} ${etag}`);
  return [...objects, ...[...taken].filter((one) => !one.startsWith('s3 '))].sort();
}

test.each(STAGES)('$name is enabled by its variables', (stage) => {
  expect(isEnabled(stage), 'a receiver that takes no http:// needs a stand-in in beforeAll').toBe(true);
});

/** Each row, and the stage that does the work of another where pictures travel once. */
const forms = [
  ...STAGES.map((stage) => ({ stage, PICTURES: 'twice' })),
  ...stagesOf({ PICTURES: 'once' }).flatMap((stage) =>
    stage.name === 'detect' ? { stage, PICTURES: 'once' } : [],
  ),
] satisfies { stage: PipelineStage; PICTURES: string }[];

describe.each(forms)('$stage.name with PICTURES=$PICTURES', ({ stage, PICTURES }) => {
  let handler: (event: MSKEvent) => Promise<unknown>;
  const eventOf = (list: ReturnType<(typeof records)[TopicVariable]>) =>
    mskEvent('topic', [list], { timestamp: capturedAt });
  const good = () => records[stage.reads]();

  /** What is outside once the work on a bucket as new is done. */
  async function afresh(work: () => Promise<unknown>): Promise<string[]> {
    s3.emptyBucket(BUCKET);
    heal();
    if (stage.reads === 'KAFKA_EVENTS_TOPIC') await storeFrames();
    heal();
    taken.clear();
    await work();
    return outside();
  }

  beforeAll(async () => {
    process.env.PICTURES = PICTURES;
    const module = await import(`${join(import.meta.dirname, '..', stage.handler)}?${PICTURES}`);
    handler = (event) => module.handler(event, A_MINUTE);
  });

  test('puts records that it can never process into failed/, and processes the others as without them', async () => {
    const [first, ...rest] = good();
    const clean = await afresh(() => handler(eventOf(good())));
    expect(clean.some((one) => one.startsWith('failed/'))).toBe(false);
    // The first keeps its offset, after which stages name what they store.
    const mixed = eventOf([first as NonNullable<typeof first>, poison, ...rest]);
    const key = `failed/${stage.name}/topic-0-1`;
    expect(await afresh(() => handler(mixed))).toEqual([...clean, key].sort());
    const failed = JSON.parse(String(await createReader().read(key)));
    expect(failed).toMatchObject({ stage: stage.name, record: { offset: 1 } });
    expect(failed.reason).toMatch(/\w+ \w+/);
  });

  test('fails the batch at a temporary error, and writes nothing to failed/', async () => {
    const away = await afresh(async () => {
      world.writesLeft = 0;
      await expect(handler(eventOf(good()))).rejects.toThrow();
      heal();
    });
    expect(away).toEqual(await afresh(async () => {}));
  });

  test('gives the same result for a batch delivered again, also after a crash at any write', async () => {
    const event = eventOf(good());
    let writes = 0;
    const whole = await afresh(async () => {
      await handler(event);
      writes = Number.MAX_SAFE_INTEGER - world.writesLeft;
    });
    expect(writes).toBeGreaterThan(0);
    const twice = await afresh(async () => {
      await handler(event);
      await handler(event);
    });
    expect(twice).toEqual(whole);
    for (let left = 0; left < writes; left++) {
      const ended = await afresh(async () => {
        world.writesLeft = left;
        await expect(handler(event), `after ${left} writes`).rejects.toThrow();
        heal();
        await handler(event);
      });
      expect(ended, `broken off after ${left} writes`).toEqual(whole);
    }
  });
});
