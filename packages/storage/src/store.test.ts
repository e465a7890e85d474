import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { MSKRecord } from '@video-pipeline/frame';
import { type FauxqsServer, startFauxqs } from 'fauxqs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createPutFailed } from './put-failed.ts';
import { isChanged, isMissing } from './reader.ts';
import { createReader } from './s3-reader.ts';
import { createStore, s3Config } from './store.ts';

let server: FauxqsServer;
const settings = () => ({
  S3_BUCKET: 'bucket',
  AWS_REGION: 'us-east-1',
  AWS_ENDPOINT_URL: `http://127.0.0.1:${server.port}`,
});

beforeAll(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  server = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  server.createBucket('bucket');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await server?.stop();
});

async function read(key: string) {
  const client = new S3Client(s3Config(settings()));
  const { Body, ContentType, Metadata } = await client.send(
    new GetObjectCommand({ Bucket: 'bucket', Key: key }),
  );
  return { body: await Body?.transformToString(), ContentType, Metadata };
}

test('an object is stored with its content type and metadata, and overwrites the previous one', async () => {
  const store = createStore(settings());
  await store.put({ key: 'a/b=c/d.txt', body: 'old', contentType: 'text/plain' });
  await store.put({
    key: 'a/b=c/d.txt',
    body: Buffer.from('new'),
    contentType: 'text/x',
    metadata: { stream_id: 'gate' },
  });
  expect(await read('a/b=c/d.txt')).toEqual({
    body: 'new',
    ContentType: 'text/x',
    Metadata: { stream_id: 'gate' },
  });
});

test('another S3 API is reached although AWS_USE_FIPS_ENDPOINT or AWS_USE_DUALSTACK_ENDPOINT is set', async () => {
  for (const name of ['AWS_USE_FIPS_ENDPOINT', 'AWS_USE_DUALSTACK_ENDPOINT']) {
    vi.stubEnv(name, 'true');
    await createStore(settings()).put({ key: name, body: 'there', contentType: 'text/plain' });
    vi.stubEnv(name, undefined);
    expect(await read(name)).toMatchObject({ body: 'there' });
  }
});

test('an empty object is stored without a warning', async () => {
  const warn = vi.spyOn(console, 'warn').mockReturnValue();
  await createStore(settings()).put({ key: 'empty', body: '', contentType: 'text/plain' });
  expect(await read('empty')).toMatchObject({ body: '' });
  expect(await createReader(settings()).read('empty', { offset: 0, length: 9 })).toHaveLength(0);
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
});

test('stored objects are listed, page by page and from any key, and read', async () => {
  const store = createStore(settings());
  const keys = ['list/a', 'list/b', 'list/c'];
  for (const key of keys) await store.put({ key, body: key, contentType: 'text/plain' });
  const reader = createReader(settings());
  const first = await reader.page('list/', { limit: 2 });
  expect(first).toMatchObject({ objects: [{ key: 'list/a' }, { key: 'list/b' }], next: 'list/b' });
  expect(Math.abs((first.objects[0]?.stored ?? 0) - Date.now())).toBeLessThan(60_000);
  const rest = await reader.page('list/', { after: first.next });
  expect(rest).toEqual({ objects: [expect.objectContaining({ key: 'list/c' })] });
  expect(String(await reader.read('list/c'))).toBe('list/c');
  expect(isMissing(await reader.read('list/d').catch((error) => error))).toBe(true);
  const elsewhere = createReader({ ...settings(), S3_BUCKET: 'nowhere' });
  expect(isMissing(await elsewhere.page('').catch((error) => error))).toBe(false);
});

test('an object is saved to a file, and does not exist after its removal', async () => {
  const store = createStore(settings());
  const reader = createReader(settings());
  await store.put({ key: 'kept/a', body: 'text', contentType: 'text/plain' });
  const path = join(tmpdir(), `store-test-${process.pid}`);
  expect(await reader.save('kept/a', path)).toBe(4);
  expect(await readFile(path, 'utf8')).toBe('text');
  await rm(path);
  const { objects } = await reader.page('kept/');
  const part = { offset: 1, length: 2, etag: objects[0]?.etag ?? '' };
  expect(String(await reader.read('kept/a', part))).toBe('ex');
  await store.put({ key: 'kept/a', body: 'other', contentType: 'text/plain' });
  await expect(reader.read('kept/a', part)).rejects.toSatisfy(isChanged);
  await store.remove(['kept/a']);
  expect(isMissing(await reader.save('kept/a', path).catch((error) => error))).toBe(true);
});

test('a missing bucket is an error', async () => {
  const store = createStore({ ...settings(), S3_BUCKET: 'nowhere' });
  await expect(store.put({ key: 'x', body: 'x', contentType: 'text/plain' })).rejects.toThrow(/bucket/i);
});

test('a response that stops midway is an error after a timeout', async () => {
  const server = createServer((_, response) =>
    response.writeHead(200, { 'content-length': 9 }).write('half'),
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { setTimeout } = Socket.prototype;
  const sooner = vi.spyOn(Socket.prototype, 'setTimeout').mockImplementation(function (
    this: Socket,
    ms,
    then,
  ) {
    return setTimeout.call(this, Math.min(ms, 100), then);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const reader = createReader({ ...settings(), AWS_ENDPOINT_URL: url });
  const path = join(tmpdir(), `store-test-${process.pid}`);
  await Promise.all(
    [reader.read('x'), reader.save('x', path)].map((answer) => expect(answer).rejects.toThrow('inactivity')),
  );
  await rm(path);
  sooner.mockRestore();
  server.closeAllConnections();
  server.close();
}, 15_000);

test('a large object has time for a slow network, and a response that never comes is an error', async () => {
  const puts: string[] = [];
  const server = createServer(async (request, response) => {
    puts.push(request.url ?? '');
    if (request.url?.startsWith('/bucket/never')) return;
    await sleep(1_500);
    request.resume().on('end', () => response.end());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const store = createStore({ ...settings(), AWS_ENDPOINT_URL: url });
  // Limits of 10 s and more pass in a twentieth of their time.
  const real = setTimeout;
  const timers = vi
    .spyOn(globalThis, 'setTimeout')
    .mockImplementation(((then: () => void, ms = 0) =>
      real(then, ms < 10_000 ? ms : ms / 20)) as typeof setTimeout);
  try {
    // 134 s at 250 kB/s.
    await store.put({ key: 'large', body: Buffer.alloc(32 * 1024 ** 2), contentType: 'x/y' });
    expect(puts).toHaveLength(1);
    await expect(store.put({ key: 'never', body: 'x', contentType: 'x/y' })).rejects.toThrow(
      'requestTimeout',
    );
  } finally {
    timers.mockRestore();
    server.closeAllConnections();
    server.close();
  }
}, 60_000);

test('connections that died while a Lambda was frozen do not fail an upload', async () => {
  let died = false;
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    request.resume().on('end', () => sleep(20).then(() => response.end()));
  }).on('connection', (socket) => {
    // What is sent over a dead connection is answered by a reset.
    if (!died) sockets.add(socket.on('error', () => {}));
  });
  server.keepAliveTimeout = 0;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const store = createStore({ ...settings(), AWS_ENDPOINT_URL: url });
  const puts = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, index) =>
        store.put({ key: `${index}`, body: 'x', contentType: 'x/y' }),
      ),
    );
  await puts(16);
  expect(sockets.size).toBe(16);
  died = true;
  for (const socket of sockets) socket.prependListener('data', () => socket.resetAndDestroy());
  // The process stands still, as a frozen one does: its timers are late.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_200);
  await puts(1);
  server.closeAllConnections();
  server.close();
}, 60_000);

test('failed/ has the whole record, with the reason, the stage and the time', async () => {
  const record: MSKRecord = {
    topic: 'video-frames',
    partition: 2,
    offset: 17,
    timestamp: 0,
    timestampType: 'CREATE_TIME',
    key: 'Z2F0ZQ==',
    value: '/9j/',
    headers: [{ stream_id: [103] }],
  };
  await createPutFailed(createStore(settings()), 'detect')(record, 'not a JPEG');
  const { body, ContentType } = await read('failed/detect/video-frames-2-17');
  expect(ContentType).toBe('application/json');
  const { time, ...rest } = JSON.parse(body ?? '');
  expect(rest).toEqual({ stage: 'detect', reason: 'not a JPEG', record });
  expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(60_000);
});
