import { ConfigError } from '@video-pipeline/config';
import { createLogger } from '@video-pipeline/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ConsoleServer, startConsole } from './console.ts';

const log = createLogger('console');
log.setLogLevel('SILENT');
// No server listens there. The console starts all the same.
const env = {
  KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1',
  AWS_ENDPOINT_URL: 'http://127.0.0.1:1',
};

test('HOST of 0.0.0.0 without a token is rejected', async () => {
  const start = startConsole({ port: 0, host: '0.0.0.0', log, env });
  await expect(start).rejects.toThrow(ConfigError);
});

test('CONSOLE_URL of a proxy without a token is rejected', async () => {
  const CONSOLE_URL = 'https://cameras.example/video';
  const start = startConsole({ port: 0, host: '127.0.0.1', log, env: { ...env, CONSOLE_URL } });
  await expect(start).rejects.toThrow(
    'others can reach https://cameras.example/video: give CONSOLE_TOKEN or CONSOLE_TOKEN_FILE, or leave --host and CONSOLE_URL out',
  );
});

describe('a console with a token', () => {
  let server: ConsoleServer;
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}${path}`, { headers, redirect: 'manual' });
  const login = (token: string) =>
    fetch(`${server.url}/login`, {
      method: 'POST',
      body: new URLSearchParams({ token }),
      redirect: 'manual',
    });

  beforeEach(async () => {
    server = await startConsole({ port: 0, host: '127.0.0.1', token: 'secret', log, env });
  });
  afterEach(() => server.close());

  test('shows only the log-in form without a session', async () => {
    const page = await get('/', { accept: 'text/html' });
    expect(page.status).toBe(401);
    expect(await page.text()).toContain('name="token"');
    for (const path of ['/api/flow', '/api/names', '/api/live', '/api/streams/yard/scene', '/page/main.ts']) {
      expect((await get(path)).status, path).toBe(401);
    }
    const changing = { method: 'POST', headers: { origin: server.url, 'content-type': 'application/json' } };
    for (const path of ['/api/streams/yard/zones', '/api/failed/redrive']) {
      expect((await fetch(`${server.url}${path}`, { ...changing, body: '{}' })).status, path).toBe(401);
    }
    expect((await get('/health')).status).toBe(200);
    expect((await get('/api/flow', { cookie: 'console=secret' })).status).toBe(401);
    expect((await get('/api/flow', { authorization: 'Bearer secrets' })).status).toBe(401);
    expect((await login('secrets')).status).toBe(401);
  });

  test('accepts the token of a program as bearer, and of a browser as cookie', async () => {
    expect((await get('/api/flow', { authorization: 'Bearer secret' })).status).toBe(200);
    const answer = await login('secret');
    expect(answer.status).toBe(303);
    const cookie = answer.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict$/);
    expect(cookie).not.toContain('secret');
    const page = await get('/', { cookie: cookie.split(';')[0] ?? '' });
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('Video pipeline');
  });
});
