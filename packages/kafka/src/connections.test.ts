import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'vitest';
import { startFakeCluster } from '../test/fake-cluster.ts';
import { connectKafka } from './connect.ts';
import { orderedProducer } from './producer.ts';

const silent = { warn() {}, error() {} };
const settings = (bootstrap: string) =>
  ({ KAFKA_BOOTSTRAP_SERVERS: bootstrap, KAFKA_AUTH: 'none', AWS_REGION: '' }) as const;

test.concurrent('disconnect() resolves while a request is unanswered, and the retry opens no connection', async ({
  expect,
  onTestFinished,
}) => {
  let isSilent = false;
  const cluster = await startFakeCluster({
    topic: 't',
    brokers: 1,
    leaders: [0],
    answer: () => (isSilent ? undefined : 0),
  });
  onTestFinished(() => cluster.close());
  const retry = { initialRetryTime: 20, maxRetryTime: 50, retries: 50 };
  const producer = orderedProducer(connectKafka('test', silent, settings(cluster.bootstrap), { retry }));
  await producer.send({ topic: 't', messages: [{ key: 'a', value: 'b' }] });
  isSilent = true;
  const sending = producer.send({ topic: 't', messages: [{ key: 'a', value: 'c' }] }).catch((error) => error);
  await sleep(50);
  const began = performance.now();
  await producer.disconnect();
  expect(performance.now() - began).toBeLessThan(4_000);
  await expect.poll(() => cluster.sockets.size).toBe(0);
  expect(await sending).toBeInstanceOf(Error);
  await sleep(300);
  expect(cluster.sockets.size).toBe(0);
});

test.concurrent('an admin that is disconnected during its connect leaves no connection, and logs nothing more', async ({
  expect,
  onTestFinished,
}) => {
  const sockets = new Set<Socket>();
  const mute = createServer((socket) =>
    sockets.add(socket.resume().once('close', () => sockets.delete(socket))),
  );
  onTestFinished(() => void mute.close());
  mute.listen(0, '127.0.0.1');
  await once(mute, 'listening');
  const { port } = mute.address() as AddressInfo;
  const lines: string[] = [];
  const note = (line: string) => void lines.push(line);
  const admin = connectKafka('test', { warn: note, error: note }, settings(`127.0.0.1:${port}`), {
    retry: { initialRetryTime: 50, retries: 1 },
  }).admin();
  const connecting = admin.connect().catch((error) => error);
  await expect.poll(() => sockets.size).toBe(1);
  await admin.disconnect();
  await expect.poll(() => sockets.size).toBe(0);
  expect(lines).toEqual([]);
  expect(await connecting).toBeInstanceOf(Error);
}, 30_000);
