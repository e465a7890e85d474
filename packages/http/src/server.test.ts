import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { createHttp } from './server.ts';

const app = createHttp({ requestMs: 1_000, maxBodyBytes: 100, bodySetting: 'MAX_BODY_BYTES' });
app.get('/frames/:time(^\\d{1,3})-:number(^\\d{1,3}).jpg', () => ({}));
app.delete('/frames/:time', () => ({}));
app.post('/frames', ({ body }) => body);

test.each([
  ['GET', '/frames/1-2.jpg', 200, undefined],
  ['HEAD', '/frames/1-2.jpg', 200, undefined],
  ['POST', '/frames/1-2.jpg', 405, 'GET, HEAD, DELETE'],
  ['GET', '/frames/1-x.jpg', 405, 'DELETE'],
  ['GET', '/frames/1/2', 404, undefined],
  ['GET', '/nowhere', 404, undefined],
] as const)('%s %s is answered with %i', async (method, url, status, allow) => {
  const { statusCode, headers } = await app.inject({ method, url });
  expect([statusCode, headers.allow?.split(', ').sort()]).toEqual([status, allow?.split(', ').sort()]);
});

test.each([
  ['x'.repeat(200), 413, { error: 'the body is over 100 bytes', limit: 'MAX_BODY_BYTES' }],
  ['{', 400, { error: expect.any(String) }],
  ['{"__proto__":{}}', 400, { error: expect.any(String) }],
  ['[1]', 200, [1]],
])('a body of %j is answered with %i', async (body, status, answer) => {
  const { statusCode, json } = await app.inject({
    method: 'POST',
    url: '/frames',
    body,
    headers: { 'content-type': 'application/json' },
  });
  expect([statusCode, json()]).toEqual([status, answer]);
});

test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
  'a form body of type %s is rejected with 415',
  async (type) => {
    const form = { method: 'POST', url: '/frames', body: '[1]', headers: { 'content-type': type } } as const;
    expect((await app.inject(form)).statusCode).toBe(415);
  },
);

test('connections over the limit are closed, and the others are served', async ({ onTestFinished }) => {
  const small = createHttp({ requestMs: 1_000, maxBodyBytes: 100, maxConnections: 2 });
  onTestFinished(() => small.close());
  small.get('/health', () => ({}));
  const { port } = new URL(await small.listen({ host: '127.0.0.1', port: 0 }));
  const open = async () => {
    const socket = connect(Number(port), '127.0.0.1').on('error', () => {});
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  const [first] = [await open(), await open()];
  const third = await open();
  await once(third.resume(), 'close');
  first.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(String((await once(first, 'data'))[0])).toMatch(/^HTTP\/1.1 200/);
});
