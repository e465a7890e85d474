import { request } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { refusePages } from './origin.ts';
import { createHttp } from './server.ts';

const servers: ReturnType<typeof createHttp>[] = [];
afterEach(() => Promise.all(servers.splice(0).map((server) => server.close())));

/** A server that accepts any body, listening on `host`. @returns the status of requests to it */
async function serve(host: string) {
  const app = createHttp({ requestMs: 1_000, maxBodyBytes: 1_000 });
  servers.push(app);
  refusePages(app, host);
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  app.get('/health', () => ({}));
  app.post('/predict', () => ({}));
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  return (method: string, path: string, headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      sent.on('error', reject).end(method === 'POST' ? '{}' : '');
    });
}

const FORM = { 'content-type': 'text/plain', host: 'localhost:8000' };
const LINK = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };

test.each([
  ['a form of another site', { ...FORM, origin: 'https://evil.example' }],
  ['a form of a sandboxed page', { ...FORM, origin: 'null' }],
  ['a form of another page on this machine', { ...FORM, origin: 'http://localhost:3000' }],
  ['a form without an origin', { ...FORM, 'sec-fetch-site': 'cross-site' }],
  [
    'a page whose DNS name was rebound to this server',
    { host: 'evil.example:8000', origin: 'http://evil.example:8000' },
  ],
])('%s is rejected on each server, local or not', async (_what, headers) => {
  expect(await (await serve('127.0.0.1'))('POST', '/predict', headers)).toBe(403);
  expect(await (await serve('0.0.0.0'))('POST', '/predict', headers)).toBe(403);
});

test('a server on 127.0.0.1 rejects other Host headers', async () => {
  const local = await serve('127.0.0.1');
  for (const host of ['evil.example', 'localhost.evil.example:8000', '127.0.0.1.evil.example', '192.0.2.7'])
    expect(await local('GET', '/health', { host }), host).toBe(403);
  for (const host of ['localhost:8000', '127.0.0.1', '[::1]:8000', 'LOCALHOST'])
    expect(await local('GET', '/health', { host }), host).toBe(200);
});

test('a server on 0.0.0.0 accepts programs with any Host header, and a link from another site', async () => {
  const open = await serve('0.0.0.0');
  for (const host of ['inference-service:8000', 'internal-1.elb.amazonaws.com', '10.0.0.1'])
    expect(await open('POST', '/predict', { host }), host).toBe(200);
  const local = await serve('127.0.0.1');
  const host = 'localhost:8000';
  expect(await local('GET', '/health', { host, 'sec-fetch-site': 'none' })).toBe(200);
  expect(await local('GET', '/health', { host, ...LINK, 'sec-fetch-dest': 'document' })).toBe(200);
  expect(await local('GET', '/health', { host, ...LINK, 'sec-fetch-dest': 'iframe' })).toBe(403);
  expect(await local('GET', '/health', { host, 'sec-fetch-site': 'cross-site' })).toBe(403);
});
