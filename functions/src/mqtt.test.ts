import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { DetectedFrame, MSKEvent } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import { afterEach, expect, test, vi } from 'vitest';
import { makeCertificate } from '../../test/support/certificate.ts';
import { startMqttBroker } from '../../test/support/mqtt-broker.ts';
import { A_MINUTE, mskEvent } from '../../test/support/msk-event.ts';
import { startProxy } from '../../test/support/proxy.ts';
import { createFrigateMessages, createMqttReceiver, createObjectCounts } from './frigate.ts';
import { connectMqtt, type MqttConnection } from './mqtt.ts';
import { createNotify } from './notify.ts';

vi.spyOn(process.stdout, 'write').mockImplementation(() => true);

const AT = 1_795_590_000_000;
const eventOf = (number: number, more: Partial<SceneEvent> = {}): SceneEvent => ({
  event_id: number.toString(16).padStart(32, '0'),
  type: 'entered_zone',
  rule: 'in',
  stream_id: 'yard',
  at: AT + number,
  track_id: 'a-0',
  class_name: 'person',
  zone: 'lawn',
  frames: ['annotated/yard/a.jpg'],
  ...more,
});
const batchOf = (events: SceneEvent[]): MSKEvent =>
  mskEvent('events', [events.map((event) => ({ key: 'yard', value: Buffer.from(JSON.stringify(event)) }))]);

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startBroker(...options: Parameters<typeof startMqttBroker>) {
  const broker = await startMqttBroker(...options);
  closers.push(broker.stop);
  return broker;
}

const lines: string[] = [];
const log = (...args: unknown[]) => void lines.push(JSON.stringify(args));

function connected(settings: Partial<Parameters<typeof connectMqtt>[0]> & { url: string }): MqttConnection {
  const broker = connectMqtt({
    prefix: 'site',
    timeoutMs: 2_000,
    logger: { info: log, warn: log },
    ...settings,
  });
  closers.push(() => broker.close());
  return broker;
}

function notifyBy(broker: MqttConnection) {
  const failed: { reason: string; code: string | undefined }[] = [];
  const deliver = createNotify({
    mqtt: createMqttReceiver(broker, 'site'),
    putFailed: async (_record, reason, more) => void failed.push({ reason, code: more?.code }),
    logger: { warn() {} },
  });
  return { notify: (batch: MSKEvent) => deliver(batch, A_MINUTE), failed };
}

test("events reach the MQTT broker in order and in Frigate's format, and it publishes the availability", async () => {
  const { got, retained, sockets, url, users } = await startBroker();
  const broker = connected({ url, username: 'pipeline', password: 'secret', publishesAvailability: true });
  const { notify, failed } = notifyBy(broker);
  await notify(
    batchOf([
      eventOf(1),
      eventOf(2, { type: 'entered_zone', zone: 'drive' }),
      eventOf(3, { type: 'left_zone' }),
      eventOf(4, { type: 'left_zone', zone: 'drive', clip_key: 'clips/a.mp4' }),
      eventOf(5, { stream_id: 'gate' }),
    ]),
  );
  expect(failed).toEqual([]);
  expect(users).toEqual(['pipeline']);
  expect(retained).toEqual(new Map([['site/available', 'online']]));
  // The broker tells of what it has acknowledged a moment later.
  const events = () => got.filter(([topic]) => topic === 'site/events');
  await expect.poll(events).toHaveLength(5);
  const told = events().map(([, text]) => JSON.parse(text));
  const facts = told.map(({ type, before, after }) => [
    type,
    after.id,
    before.current_zones,
    after.current_zones,
  ]);
  expect(facts).toEqual([
    ['new', 'yard-a-0', [], ['lawn']],
    ['update', 'yard-a-0', ['lawn'], ['lawn', 'drive']],
    ['update', 'yard-a-0', ['lawn', 'drive'], ['drive']],
    ['end', 'yard-a-0', ['drive'], []],
    ['new', 'gate-a-0', [], ['lawn']],
  ]);
  expect(told[3]).toEqual({
    type: 'end',
    before: expect.objectContaining({ end_time: null, has_clip: false }),
    after: {
      ...{ id: 'yard-a-0', camera: 'yard', label: 'person', sub_label: null, false_positive: false },
      ...{ frame_time: (AT + 4) / 1000, start_time: (AT + 1) / 1000, end_time: (AT + 4) / 1000 },
      ...{ stationary: false, current_zones: [], entered_zones: ['lawn', 'drive'] },
      ...{ has_snapshot: true, has_clip: true },
    },
    event: eventOf(4, { type: 'left_zone', zone: 'drive', clip_key: 'clips/a.mp4' }),
  });
  // As when the process is killed.
  for (const socket of sockets) socket.destroy();
  await vi.waitFor(() => expect(retained.get('site/available')).toBe('offline'));
  await vi.waitFor(() => expect(retained.get('site/available')).toBe('online'), { timeout: 5_000 });
});

test('events that wait for the first connection keep their order, and later ones do not overtake them', async () => {
  const { got, port } = await startBroker();
  const gate = createServer((socket) => {
    const broker = connect(port, '127.0.0.1');
    void setTimeout(60).then(() => socket.pipe(broker).pipe(socket));
  }).listen(0, '127.0.0.1');
  await once(gate, 'listening');
  closers.push(() => gate.close());
  const broker = connected({ url: `mqtt://127.0.0.1:${(gate.address() as AddressInfo).port}` });
  const sent = [];
  for (let number = 0; number < 60; number++) {
    sent.push(broker.publish('site/events', `${number}`));
    await setTimeout(2);
  }
  expect(new Set(await Promise.all(sent))).toEqual(new Set([undefined]));
  await expect.poll(() => got.map(([, text]) => Number(text))).toEqual([...Array(60).keys()]);
});

test('an event without a track, or of an object that only leaves, gives a complete Frigate message', () => {
  const messageOf = createFrigateMessages();
  const { track_id: _track, class_name: _class, ...count } = eventOf(7, { type: 'count_over', count: 4 });
  const crowd = messageOf(count);
  expect(crowd).toMatchObject({ type: 'new', after: { id: count.event_id, label: 'object' } });
  expect(crowd.after.end_time).toBe(count.at / 1000);
  const gone = messageOf(eventOf(8, { type: 'left_zone' }));
  expect(gone).toMatchObject({
    type: 'end',
    before: { current_zones: ['lawn'] },
    after: { current_zones: [] },
  });
});

test('events for an unreachable or rejecting MQTT broker go to failed/ soon, and later events are published', async () => {
  const first = await startBroker();
  await first.stop();
  const broker = connected({ url: first.url, timeoutMs: 1_000 });
  const { notify, failed } = notifyBy(broker);
  const events = Array.from({ length: 100 }, (_, number) => eventOf(number));
  const began = performance.now();
  await notify(batchOf(events));
  expect(performance.now() - began).toBeLessThan(5_000);
  expect(failed).toHaveLength(100);
  expect(failed[0]).toEqual({
    code: 'MQTT_REFUSED',
    reason: expect.stringMatching(/^no MQTT connection: .*ECONNREFUSED/),
  });
  const second = await startBroker({ port: first.port });
  await expect.poll(() => lines.at(-1)).toContain('connected to the MQTT broker');
  await notify(batchOf(events.slice(0, 3)));
  expect(failed).toHaveLength(100);
  await expect.poll(() => second.got).toHaveLength(3);
});

test('after minutes in which a Lambda was frozen, the first events wait for the reconnection', async () => {
  const { got, sockets, url } = await startBroker();
  const broker = connected({ url });
  const { notify, failed } = notifyBy(broker);
  await notify(batchOf([eventOf(1)]));
  for (const socket of sockets) socket.destroy();
  await expect.poll(() => broker.isConnected()).toBe(false);
  const since = performance.now.bind(performance);
  const now = vi.spyOn(performance, 'now').mockImplementation(() => since() + 300_000);
  closers.push(() => now.mockRestore());
  await notify(batchOf([eventOf(2), eventOf(3)]));
  expect(failed).toEqual([]);
  await expect.poll(() => got).toHaveLength(3);
});

test('events sent over a connection that broke unnoticed are sent again over a new one', async () => {
  const { got, url } = await startBroker();
  const network = await startProxy(url);
  closers.push(network.close);
  const broker = connected({ url: network.url.replace('rtsp', 'mqtt'), timeoutMs: 4_000 });
  const { notify, failed } = notifyBy(broker);
  await notify(batchOf([eventOf(1)]));
  network.freeze();
  await notify(batchOf([eventOf(2), eventOf(3)]));
  expect(failed).toEqual([]);
  const texts = () => got.map(([, text]) => JSON.parse(text).event.at - AT).sort();
  await expect.poll(texts).toEqual([1, 2, 3]);
}, 10_000);

test('a clock that is set back by an hour does not extend the timeout of an MQTT broker', async () => {
  const { url, stop } = await startBroker();
  await stop();
  const broker = connected({ url, timeoutMs: 300 });
  await broker.publish('site/events', '{}');
  const now = vi.spyOn(Date, 'now').mockReturnValue(Date.now() - 3_600_000);
  closers.push(() => now.mockRestore());
  expect(await broker.publish('site/events', '{}')).toMatch(/^no MQTT connection/);
}, 5_000);

test('a wrong MQTT password is reported, and no password is logged', async () => {
  const { url, got } = await startBroker();
  const broker = connected({ url, username: 'pipeline', password: 'hunter2', timeoutMs: 500 });
  const reason = await broker.publish('site/events', '{}');
  expect(reason).toMatch(/not authorized/i);
  expect(got).toEqual([]);
  expect(lines.join()).not.toContain('hunter2');
});

test('MQTT over TLS connects only to a broker with a trusted certificate', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mqtt-'));
  closers.push(() => rm(folder, { recursive: true }));
  const { server, pem } = await makeCertificate(folder);
  const { url, got } = await startBroker({ tls: { key: server, cert: server } });
  const stranger = connected({ url, timeoutMs: 500 });
  expect(await stranger.publish('site/events', '{}')).toMatch(/self-signed certificate/);
  expect(got).toEqual([]);
  const trusted = getCACertificates('default');
  closers.push(() => setDefaultCACertificates(trusted));
  setDefaultCACertificates([await readFile(pem, 'utf8')]);
  expect(await connected({ url }).publish('site/events', '{}')).toBeUndefined();
});

test('an MQTT broker that accepts connections and never answers blocks no batch', async () => {
  const server = createServer(() => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  const broker = connected({
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    timeoutMs: 300,
  });
  const began = performance.now();
  expect(await broker.publish('site/events', '{}')).toMatch(/^no MQTT connection/);
  expect(performance.now() - began).toBeLessThan(5_000);
});

test('class names with any characters are counted, and break neither the batch nor the connection', async () => {
  const { retained, sockets, url } = await startBroker();
  const broker = connected({ url });
  await broker.publish('site/begin', '');
  const [socket] = sockets;
  createObjectCounts(broker, 'site')([frameOf(0, ['n'.repeat(70_000), 'a\u0001\n', '#', ''])]);
  const names = () => [...retained.keys()].map((topic) => topic.slice('site/yard/'.length)).sort();
  await expect.poll(names).toEqual(['_', 'a__', 'all', 'n'.repeat(256)]);
  expect(await broker.publish('site/end', '')).toBeUndefined();
  expect([...sockets]).toEqual([socket]);
});

const frameOf = (number: number, classes: string[]): DetectedFrame => ({
  ...{ streamId: 'yard', frameNumber: number, session: 's', capturedAt: AT + number, model: 'm' },
  ...{ width: 64, height: 48, jpeg: Buffer.of() },
  detections: classes.map((class_name) => ({ class_id: 0, class_name, confidence: 0.9, bbox: [1, 2, 3, 4] })),
});

test('object counts are retained messages, follow the median of the frames, and start again after a restart', async () => {
  const { got, retained, url } = await startBroker();
  const counts = (broker: MqttConnection) => createObjectCounts(broker, 'site');
  const broker = connected({ url });
  await broker.publish('site/yard/cat', '2');
  const before = counts(broker);
  expect(broker.isConnected()).toBe(true);
  before([frameOf(0, ['person', 'car/van']), frameOf(1, ['person']), frameOf(2, ['person', 'person'])]);
  const topics = () => Object.fromEntries([...retained].map(([topic, count]) => [topic.slice(10), count]));
  await expect.poll(topics).toEqual({ all: '2', person: '1', car_van: '0' });
  // Another process goes on: what is seen no more is told as none.
  const after = counts(connected({ url }));
  await vi.waitFor(
    () => {
      after([frameOf(got.length + 10, ['dog'])]);
      expect(topics()).toEqual({ all: '1', dog: '1', person: '0', car_van: '0' });
    },
    { timeout: 5_000 },
  );
  const told = got.length;
  after([frameOf(1_000, ['dog'])]);
  // Put back from failed/: of the past.
  after([frameOf(0, ['person'])]);
  await broker.publish('site/end', '');
  await expect.poll(() => got.slice(told).map(([topic]) => topic)).toEqual(['site/end']);
});

test('a count that another process changed is published again', async () => {
  const { retained, url } = await startBroker();
  const [one, other] = [connected({ url }), connected({ url })];
  await Promise.all([one.publish('x', ''), other.publish('x', '')]);
  const [ours, theirs] = [createObjectCounts(one, 'site'), createObjectCounts(other, 'site')];
  const topics = () => [retained.get('site/yard/all'), retained.get('site/yard/person')];
  ours([frameOf(0, ['person'])]);
  await expect.poll(topics).toEqual(['1', '1']);
  theirs([frameOf(1, ['person', 'person'])]);
  await expect.poll(topics).toEqual(['2', '2']);
  const later = Date.now() + 31_000;
  vi.spyOn(Date, 'now').mockReturnValue(later);
  closers.push(() => vi.mocked(Date.now).mockRestore());
  ours([frameOf(2, ['person'])]);
  await vi.waitFor(() => expect(topics()).toEqual(['1', '1']), 10_000);
});
