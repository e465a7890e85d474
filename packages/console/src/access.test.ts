import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@video-pipeline/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAccess } from './access.ts';
import { type ConsoleServer, startConsole } from './console.ts';
import { readOrCreateToken } from './token.ts';

const log = createLogger('console');
log.setLogLevel('SILENT');
const away = { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1', AWS_ENDPOINT_URL: 'http://127.0.0.1:1' };
const CONSOLE_URL = 'https://cams.example/video';
const JSON_TYPE = { 'content-type': 'application/json' };

interface Answer {
  status: number;
  cookie: string;
  location: string;
  body: string;
}

let open: ConsoleServer;
let locked: ConsoleServer;
beforeAll(async () => {
  open = await startConsole({ port: 0, host: '127.0.0.1', log, env: away });
  const env = { ...away, CONSOLE_URL };
  locked = await startConsole({ port: 0, host: '0.0.0.0', token: 'secret', log, env });
});
afterAll(() => Promise.all([open?.close(), locked?.close()]));

/** Sends a request with just these headers. */
function ask(
  server: ConsoleServer,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
  body = '',
): Promise<Answer> {
  const { port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers }, async (response) => {
      const text = method === 'HEAD' ? '' : Buffer.concat(await response.toArray()).toString();
      const { location = '', 'set-cookie': cookies = [] } = response.headers;
      resolve({ status: response.statusCode ?? 0, cookie: cookies[0] ?? '', location, body: text });
    });
    sent.on('error', reject).end(body);
  });
}
const login = (headers: Record<string, string> = {}, token = 'secret') =>
  ask(locked, '/login', headers, 'POST', `token=${token}`);
const pairOf = (cookie: string) => cookie.split(';')[0] ?? '';

describe('Host header of a request', () => {
  test.each(['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '192.0.2.7'])(
    'without a token %j is rejected',
    async (host) => {
      expect((await ask(open, '/api/flow', { host })).status).toBe(403);
    },
  );

  test('an unknown host is rejected also with a token and a session', async () => {
    const session = pairOf((await login()).cookie);
    for (const host of ['evil.example', 'video.evil.example']) {
      expect((await ask(locked, '/', { host, cookie: session })).status, host).toBe(403);
      expect((await ask(locked, '/', { host, authorization: 'Bearer secret' })).status, host).toBe(403);
      expect((await login({ host })).status, host).toBe(403);
      expect((await ask(locked, '/health', { host })).status).toBe(200);
    }
    for (const host of [
      'localhost:8080',
      '127.0.0.1',
      '[::1]:1',
      '192.0.2.7:80',
      'cams.example',
      'CAMS.example',
    ])
      expect((await ask(locked, '/', { host, cookie: session })).status, host).toBe(200);
  });
});

test.each(['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'])(
  'a request with the proxy header %s is answered only if a token is set',
  async (header) => {
    const headers = { host: '127.0.0.1:8080', [header]: '198.51.100.7' };
    for (const path of ['/', '/api/flow', '/page/main.ts']) {
      const refused = await ask(open, path, headers);
      expect([refused.status, refused.body]).toEqual([403, expect.stringContaining('CONSOLE_TOKEN_FILE')]);
      const shown = { ...headers, authorization: 'Bearer secret' };
      expect((await ask(locked, path, shown)).status, path).toBe(200);
    }
    expect((await ask(open, '/health', headers)).status).toBe(200);
  },
);

describe('origin of a request', () => {
  const foreign = [{ 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }];

  test.each(foreign)('%j can not read, neither without a token nor with a session', async (headers) => {
    const session = pairOf((await login()).cookie);
    for (const path of ['/', '/api/flow', '/api/search', '/api/live', '/page/main.ts']) {
      expect((await ask(open, path, headers)).status, path).toBe(403);
      expect((await ask(locked, path, { ...headers, cookie: session })).status, path).toBe(403);
    }
    expect((await login(headers)).status).toBe(403);
    expect((await login({ origin: 'https://evil.example' })).status).toBe(403);
  });

  test('a link from another site may open the page, and nothing else', async () => {
    const link = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    };
    expect((await ask(open, '/', link)).status).toBe(200);
    expect((await ask(open, '/api/flow', link)).status).toBe(403);
    expect((await ask(open, '/', { ...link, 'sec-fetch-dest': 'iframe' })).status).toBe(403);
  });

  test("only the console's own page may make changes", async () => {
    const host = 'localhost:8080';
    const change = async (headers: Record<string, string>) =>
      (await ask(open, '/api/failed/redrive', { host, ...JSON_TYPE, ...headers }, 'POST', '{}')).status;
    expect(await change({})).toBe(403);
    expect(await change({ origin: 'null' })).toBe(403);
    expect(await change({ origin: 'http://localhost:3000' })).toBe(403);
    expect(await change({ origin: 'http://localhost:8080', 'sec-fetch-site': 'same-site' })).toBe(403);
    // 400: access was granted.
    expect(await change({ origin: 'http://localhost:8080' })).toBe(400);
    expect(await change({ 'sec-fetch-site': 'same-origin' })).toBe(400);
    // A proxy removed the port.
    expect(await change({ host: 'localhost', origin: 'http://localhost:8081' })).toBe(400);
    expect(await change({ host: 'localhost', origin: 'http://other:8081' })).toBe(403);
  });

  test('a program with a bearer token may make changes', async () => {
    const headers = { authorization: 'Bearer secret', ...JSON_TYPE };
    expect((await ask(locked, '/api/failed/redrive', headers, 'POST', '{}')).status).toBe(400);
  });
});

describe('session cookie', () => {
  test('does not reveal the token, has a new value each time, and expires', async () => {
    const [first, second] = [(await login()).cookie, (await login()).cookie];
    expect(pairOf(first)).not.toBe(pairOf(second));
    expect(first).toMatch(/; Path=\/video; Max-Age=43200; Secure; HttpOnly; SameSite=Strict$/);
    for (const cookie of [first, second])
      expect((await ask(locked, '/', { cookie: pairOf(cookie) })).status).toBe(200);
    expect((await ask(locked, '/', { cookie: 'console=' })).status).toBe(401);
  });

  test('is Secure when the browser uses TLS', async () => {
    const plain = createAccess('secret');
    expect(plain.login('secret', { isSecure: false, prefix: '' })).not.toContain('Secure');
    expect(plain.login('secret', { isSecure: true, prefix: '' })).toContain(
      '; Path=/; Max-Age=43200; Secure;',
    );
  });

  test('is invalid after a log-out, which another site can not trigger', async () => {
    const cookie = pairOf((await login()).cookie);
    const out = (headers: Record<string, string>) => ask(locked, '/logout', { cookie, ...headers }, 'POST');
    expect((await out({ 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await ask(locked, '/', { cookie })).status).toBe(200);
    const answer = await out({ 'sec-fetch-site': 'same-origin' });
    expect(answer.status).toBe(303);
    expect(answer.cookie).toMatch(/^console=; Path=\/video; Max-Age=0;/);
    expect((await ask(locked, '/', { cookie })).status).toBe(401);
  });
});

test('a wrong token gets 401 with the log-in form', async () => {
  const answer = await login({ accept: 'text/html' }, 'wrong');
  expect(answer.status).toBe(401);
  expect(answer.body).toContain('<p id="wrong">This is not the token.</p>');
  expect((await ask(locked, '/', { accept: 'text/html' })).body).toContain('<p id="wrong" hidden>');
  expect((await ask(locked, '/login')).location).toBe('./');
});

test('behind a proxy with a path prefix, each path is served with and without the prefix', async () => {
  const headers = { authorization: 'Bearer secret' };
  for (const path of ['/video/', '/', '/video/api/flow', '/api/flow', '/video/page/main.ts'])
    expect((await ask(locked, path, headers)).status, path).toBe(200);
  expect((await ask(locked, '/videos/api/flow', headers)).status).toBe(404);
});

test('/api/live answers HEAD, and its headers ask proxies not to buffer', async () => {
  expect((await ask(open, '/api/live', {}, 'HEAD')).status).toBe(200);
  const stop = new AbortController();
  const { headers } = await fetch(`${open.url}/api/live`, { signal: stop.signal });
  stop.abort();
  expect(headers.get('x-accel-buffering')).toBe('no');
});

test('a token file is created once, and only its owner may read it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'token-'));
  const path = join(folder, 'token');
  try {
    const token = readOrCreateToken(path);
    expect(token).toMatch(/^[\w-]{32}$/);
    expect(readOrCreateToken(path)).toBe(token);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readOrCreateToken(join(folder, 'other'))).not.toBe(token);
    writeFileSync(path, '\n');
    expect(() => readOrCreateToken(path)).toThrow(`CONSOLE_TOKEN_FILE: '${path}' is empty`);
    expect(() => readOrCreateToken(join(folder, 'no/token'))).toThrow("CONSOLE_TOKEN_FILE: can't write");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
