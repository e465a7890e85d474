import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@video-pipeline/telemetry';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type ConsoleServer, startConsole } from '../../packages/console/src/console.ts';
import { freePort } from '../../packages/local/src/supervisor/processes.ts';

const log = createLogger('console');
log.setLogLevel('SILENT');
const AWAY = { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1', AWS_ENDPOINT_URL: 'http://127.0.0.1:1' };

/** How each proxy is started on a configuration as docs/proxy.md has it, around it only what a test needs. */
const PROXIES = {
  nginx: {
    package: 'nginx-light',
    find: 'command -v nginx || ls /usr/sbin/nginx',
    config: (
      folder: string,
      port: number,
      block: string,
    ) => `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  server { listen 127.0.0.1:${port}; ${block} }
}`,
    args: (folder: string, file: string) => ['-c', file, '-p', folder],
  },
  caddy: {
    package: 'caddy',
    find: 'command -v caddy',
    // Its name would have it fetch a certificate.
    config: (_folder: string, port: number, block: string) =>
      `{\n  admin off\n}\n${block.replace('cameras.example {', `http://127.0.0.1:${port} {`)}`,
    args: (_folder: string, file: string) => ['run', '--adapter', 'caddyfile', '--config', file],
  },
} as const;
type ProxyName = keyof typeof PROXIES;

function find(command: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', command], { stdio: 'pipe' }).toString().trim();
  } catch {
    return undefined;
  }
}

async function configOf(name: ProxyName, folder: string, port: number, consoleUrl: string): Promise<string> {
  const docs = await readFile(join(import.meta.dirname, '../../docs/proxy.md'), 'utf8');
  const [, block = ''] = new RegExp(`\`\`\`${name}\\n(.*?)\`\`\``, 's').exec(docs) ?? [];
  expect(block).toContain('127.0.0.1:8081');
  return PROXIES[name].config(folder, port, block.replace('127.0.0.1:8081', new URL(consoleUrl).host));
}

/** Starts a proxy, and waits until it answers. @returns the console's address behind it */
async function startProxy(name: ProxyName, program: string, consoleUrl: string) {
  const folder = await mkdtemp(join(tmpdir(), 'console-proxy-'));
  const port = await freePort();
  const base = `http://127.0.0.1:${port}/video`;
  const file = join(folder, 'config');
  await writeFile(file, await configOf(name, folder, port, consoleUrl));
  const errors = openSync(join(folder, 'error.log'), 'a');
  const homes = { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const proxy = spawn(program, PROXIES[name].args(folder, file), {
    stdio: ['ignore', errors, errors],
    env: homes,
  });
  const stop = async () => {
    if (proxy.exitCode === null) {
      const exited = once(proxy, 'exit');
      proxy.kill();
      await exited;
    }
    await rm(folder, { recursive: true, force: true });
  };
  for (let tries = 0; tries < 50; tries += 1) {
    const answer = await fetch(`${base}/health`).catch(() => undefined);
    if (answer?.ok) return { base, stop };
    await sleep(100);
  }
  const log = await readFile(join(folder, 'error.log'), 'utf8');
  await stop();
  throw new Error(log);
}

const FOUND = (Object.keys(PROXIES) as ProxyName[]).map((name) => [name, find(PROXIES[name].find)] as const);
for (const [name, path] of FOUND)
  if (!path) console.warn(`skipped: no ${name} (Debian: apt-get install ${PROXIES[name].package})`);

describe.for(FOUND)('the console behind %s with its default configuration', ([name, program]) => {
  if (!program) {
    test.skip('is skipped because the proxy is not installed');
    return;
  }
  let server: ConsoleServer;
  let proxy: Awaited<ReturnType<typeof startProxy>>;
  let base: string;
  beforeAll(async () => {
    const env = { ...AWAY, CONSOLE_URL: `https://cameras.example/video` };
    server = await startConsole({ port: 0, host: '127.0.0.1', token: 'secret', log, env });
    proxy = await startProxy(name, program, server.url);
    base = proxy.base;
  });
  afterAll(() => Promise.all([proxy?.stop(), server?.close()]));

  test('shows nothing without CONSOLE_TOKEN, and with it nothing before the log-in', async () => {
    const open = await startConsole({ port: 0, host: '127.0.0.1', log, env: AWAY });
    onTestFinished(() => open.close());
    const before = await startProxy(name, program, open.url);
    onTestFinished(before.stop);
    for (const path of ['', 'api/flow', 'page/main.ts']) {
      expect((await fetch(`${before.base}/${path}`)).status, path).toBe(403);
      expect((await fetch(`${base}/${path}`)).status, path).toBe(401);
    }
  });

  /** As a browser at the public address sends it. */
  const browser = { 'sec-fetch-site': 'same-origin', origin: 'https://cameras.example' };
  const login = async () => {
    const body = new URLSearchParams({ token: 'secret' });
    const answer = await fetch(`${base}/login`, {
      method: 'POST',
      body,
      headers: browser,
      redirect: 'manual',
    });
    const cookie = answer.headers.get('set-cookie') ?? '';
    return { answer, cookie, headers: { ...browser, cookie: cookie.split(';')[0] ?? '' } };
  };

  test('redirects under its path after the log-in, with a Secure cookie', async () => {
    const { answer, cookie } = await login();
    expect(answer.status).toBe(303);
    expect(new URL(answer.headers.get('location') ?? '', `${base}/login`).href).toBe(`${base}/`);
    expect(cookie).toContain('Path=/video; Max-Age=43200; Secure');
  });

  test('receives live events without delay', async () => {
    const { headers } = await login();
    const stop = new AbortController();
    const answer = await fetch(`${base}/api/live`, { headers, signal: stop.signal });
    const began = performance.now();
    const { value } = (await answer.body?.getReader().read()) ?? {};
    expect(new TextDecoder().decode(value)).toContain('event: health');
    expect(performance.now() - began).toBeLessThan(2_000);
    stop.abort();
  });

  test('serves each URL in the page, and accepts changes', async () => {
    const { headers } = await login();
    const html = await (await fetch(`${base}/`, { headers })).text();
    const named = [...html.matchAll(/(?:src|href)="([^#"]+)"/g)].map(([, address]) => address ?? '');
    expect(named.length).toBeGreaterThan(2);
    for (const address of named) {
      expect(address).not.toMatch(/^\//);
      expect((await fetch(new URL(address, `${base}/`), { headers })).status, address).toBe(200);
    }
    const change = await fetch(`${base}/api/failed/redrive`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: '{}',
    });
    expect(change.status).toBe(400);
  });
});
