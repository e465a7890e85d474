import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import type { MSKEvent } from '@video-pipeline/frame';
import { type SceneEvent, sceneEventSchema } from '@video-pipeline/scene';
import { afterEach, expect, test, vi } from 'vitest';
import { collectMetrics } from '../../test/support/metrics.ts';
import { A_MINUTE, mskEvent } from '../../test/support/msk-event.ts';
import { busClient, createBus, createNotify, handler } from './notify.ts';
import { createWebhook } from './webhook.ts';

const metrics = collectMetrics();

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const eventOf = (number: number): SceneEvent => ({
  event_id: number.toString(16).padStart(32, '0'),
  type: 'entered_zone',
  rule: 'in',
  stream_id: 'yard',
  at: 1_795_590_000_000 + number,
  track_id: 'a-0',
  class_name: 'person',
  zone: 'lawn',
  frames: ['annotated/yard/a.jpg'],
});
function batchOf(values: string[]): MSKEvent {
  return mskEvent('events', [values.map((value) => ({ key: 'yard', value: Buffer.from(value) }))]);
}

const closers: (() => unknown)[] = [];
afterEach(() => Promise.all(closers.splice(0).map((close) => close())));

/** A receiver that gives the statuses in turn, and 204 afterwards; 0 breaks the connection. */
async function receiver(statuses: number[] = []) {
  const posts: { headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer(async (request, response) => {
    posts.push({ headers: request.headers, body: await text(request) });
    const status = statuses.shift() ?? 204;
    if (status === 0) request.socket.destroy();
    else response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, posts };
}

function setUp(url: string, attempts = 5, context = A_MINUTE) {
  const failedRecords: { offset: number; reason: string }[] = [];
  const deliver = createNotify({
    webhook: createWebhook({ url, secret: SECRET, attempts, firstWaitMs: 1 }),
    putFailed: async ({ offset }, reason) => void failedRecords.push({ offset, reason }),
    logger: { warn() {} },
  });
  const notify = (batch: MSKEvent) => deliver(batch, context);
  return { notify, failedRecords };
}

test('an event is posted once, with a signature and its id', async () => {
  const { url, posts } = await receiver();
  const { notify, failedRecords } = setUp(url);
  await notify(batchOf([JSON.stringify(eventOf(1))]));
  expect(failedRecords).toEqual([]);
  expect(posts.map(({ body }) => sceneEventSchema.parse(JSON.parse(body)))).toEqual([eventOf(1)]);
  const { headers, body } = posts[0] ?? { headers: {}, body: '' };
  expect(headers['webhook-id']).toBe(eventOf(1).event_id);
  expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000)).toBeLessThan(5);
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const expected = createHmac('sha256', Buffer.alloc(32, 7)).update(signed).digest('base64');
  expect(headers['webhook-signature']).toBe(`v1,${expected}`);
});

test('a temporary error of the webhook is retried', async () => {
  const { url, posts } = await receiver([500, 429, 0]);
  const { notify, failedRecords } = setUp(url);
  await notify(batchOf([JSON.stringify(eventOf(1))]));
  expect(posts).toHaveLength(4);
  expect(failedRecords).toEqual([]);
});

test.each([
  ['refused with a permanent error', [400], 1, /attempt 1: HTTP status 400/],
  ['redirected', [302], 1, /HTTP status 302/],
  ['refused at each attempt', [500, 500, 503], 3, /attempt 3: HTTP status 503/],
])(
  'an event that is %s goes to failed/, and the other events are delivered',
  async (_what, statuses, attempts, reason) => {
    const { url, posts } = await receiver([...statuses]);
    const { notify, failedRecords } = setUp(url, 3);
    await notify(batchOf([JSON.stringify(eventOf(1))]));
    await notify(batchOf(['{}', 'no JSON', JSON.stringify(eventOf(2))]));
    expect(posts).toHaveLength(attempts + 1);
    expect(failedRecords).toEqual([
      { offset: 0, reason: expect.stringMatching(reason) },
      { offset: 0, reason: 'is no event' },
      { offset: 1, reason: 'is no event' },
    ]);
  },
);

test('the error of an unreachable receiver names it', async () => {
  const { notify, failedRecords } = setUp('http://127.0.0.1:1/', 2);
  await notify(batchOf([JSON.stringify(eventOf(1))]));
  expect(failedRecords[0]?.reason).toMatch(/attempt 2: /);
});

test("a receiver that hangs fails no batch: events not delivered before the function's deadline go to failed/", async () => {
  const server = createServer(() => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const { notify, failedRecords } = setUp(url, 20, { getRemainingTimeInMillis: () => 400 });
  const began = performance.now();
  await notify(batchOf(Array.from({ length: 10 }, (_, number) => JSON.stringify(eventOf(number)))));
  expect(performance.now() - began).toBeLessThan(3_000);
  const reasons = failedRecords.map(({ reason }) => reason.replace(/: .*/, ''));
  expect(reasons).toEqual([
    ...Array(8).fill('the webhook did not accept it, attempt 1'),
    ...Array(2).fill('no time was left for the webhook'),
  ]);
});

test.each(['http://169.254.169.254/latest/meta-data', 'http://[::ffff:a9fe:a9fe]/', 'http://2852039166/'])(
  '%s gets no event, and is tried once',
  async (url) => {
    const { notify, failedRecords } = setUp(url);
    await notify(batchOf([JSON.stringify(eventOf(1))]));
    expect(failedRecords[0]?.reason).toMatch(/attempt 1: .* is a link-local or reserved address/);
  },
);

test('an event that no event bus can accept goes to failed/ and delays no other event', async () => {
  const { url, posts } = await receiver();
  const { notify, failedRecords } = setUp(url);
  const times = [{ at: 9e15 }, { at: 8.64e15 }, { at: 9 }];
  const poison = [...times, { rule: 'x'.repeat(20_000) }, { stream_id: '../etc' }];
  const values = poison.map((one) => JSON.stringify({ ...eventOf(1), ...one }));
  await notify(batchOf([...values, JSON.stringify(eventOf(2))]));
  expect(failedRecords.map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4]);
  expect(failedRecords[2]?.reason).toBe('has a time that is not from 2000-01-01 to a day from now');
  expect(posts.map(({ body }) => JSON.parse(body))).toEqual([eventOf(2)]);
});

test('an event that two receivers refuse has both reasons in failed/, in any order of their responses', async () => {
  for (const slow of ['webhook', 'mqtt']) {
    const refuse = (name: string) => async () => {
      if (name === slow) await setTimeout(20);
      return `${name} refused it`;
    };
    const failed: string[] = [];
    const notify = createNotify({
      webhook: refuse('webhook'),
      mqtt: refuse('mqtt'),
      putFailed: async (_record, reason, { code } = {}) => void failed.push(`${code}: ${reason}`),
      logger: { warn() {} },
    });
    await notify(batchOf([JSON.stringify(eventOf(1))]), A_MINUTE);
    expect(failed).toEqual(['WEBHOOK_REFUSED: webhook refused it; mqtt refused it']);
  }
});

test('events that only the event bus gets are counted, too', async () => {
  const bus = vi.fn(async () => {});
  const notify = createNotify({ bus, putFailed: async () => {}, logger: { warn() {} } });
  await notify(batchOf([1, 2].map((number) => JSON.stringify(eventOf(number)))), A_MINUTE);
  expect(bus).toHaveBeenCalledWith([eventOf(1), eventOf(2)]);
  expect(metrics).toMatchObject([{ service: 'notify', stream: 'yard', values: { EventsDelivered: [2] } }]);
});

test('the event bus gets ten events at a time, again those that it refused, and a lasting refusal fails the batch', async () => {
  const requests: number[] = [];
  const send = vi.fn(async ({ input }) => {
    requests.push(input.Entries.length);
    return { FailedEntryCount: 0 };
  });
  const events = Array.from({ length: 12 }, (_, index) => eventOf(index));
  await createBus({ send }, 'bus')(events);
  expect(requests).toEqual([10, 2]);
  expect(send.mock.calls[0]?.[0].input.Entries[0]).toMatchObject({
    EventBusName: 'bus',
    Source: 'video-pipeline',
    DetailType: 'entered_zone',
    Detail: JSON.stringify(eventOf(0)),
  });
  const puts: number[] = [];
  const throttled = { ErrorCode: 'ThrottlingException' };
  /** A bus that takes all but the last event of a request, up to this request. */
  const refusing = (until: number) => async (command: { input: { Entries: object[] } }) => {
    const { length } = command.input.Entries;
    puts.push(length);
    if (puts.length > until) return { FailedEntryCount: 0 };
    return { FailedEntryCount: 1, Entries: [...Array(length - 1).fill({}), throttled] };
  };
  await createBus({ send: refusing(2) as never }, 'bus', 1)(events);
  expect(puts).toEqual([10, 1, 1, 2]);
  await expect(createBus({ send: refusing(99) as never }, 'bus', 1)(events)).rejects.toThrow(
    "bus 'bus' refused 1 of 10 events: ThrottlingException",
  );
});

test('events are put on the bus over a new connection if the old one broke unnoticed', async () => {
  const connections = new Set<unknown>();
  const server = createServer((request, response) => {
    connections.add(request.socket);
    if (connections.size > 1) response.end('{"FailedEntryCount":0}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  vi.stubEnv('AWS_ENDPOINT_URL_EVENTBRIDGE', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await createBus(busClient('us-east-1', { requestTimeout: 50 }), 'bus')([eventOf(1)]);
  expect(connections.size).toBe(2);
});

test('without a receiver the handler names the missing variable', async () => {
  await expect(handler(batchOf([]), A_MINUTE)).rejects.toThrow('WEBHOOK_URL, MQTT_URL or EVENT_BUS_NAME');
});
