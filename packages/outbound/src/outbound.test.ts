import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { expect, test, vi } from 'vitest';
import { makeCertificate } from '../../../test/support/certificate.ts';
import { AllowedHosts, connectTo, fetchOnce, isForbidden } from './index.ts';

test.each([
  '169.254.169.254',
  '169.254.170.2',
  '::ffff:169.254.169.254',
  '::ffff:a9fe:a9fe',
  '64:ff9b::169.254.169.254',
  '2002:a9fe:a9fe::1',
  '::169.254.169.254',
  'fe80::1%eth0',
  'fd00:ec2::254',
  '168.63.129.16',
  '0.0.0.0',
  '::',
  '224.0.0.1',
  'ff02::1',
  'no address',
])('%s is forbidden', (address) => {
  expect(isForbidden(address)).toBe(true);
});

test.each([
  '127.0.0.1',
  '10.0.0.7',
  '192.168.1.10',
  '::1',
  'fd12::7',
  '2001:db8::1',
  '64:ff9b::10.0.0.7',
  '8.8.8.8',
])('%s is allowed for a camera', (address) => {
  expect(isForbidden(address)).toBe(false);
});

test('a source may lead to its own host and port, to TLS beside port 80, and to the listed hosts', () => {
  const hosts = new AllowedHosts(new URL('http://Camera.local/list.m3u8'), [
    'cdn.example',
    '10.0.0.9:8080',
    '[fd12::7]:81',
  ]);
  expect(hosts.allows('camera.local', 80)).toBe(true);
  expect(hosts.allows('camera.local', 443)).toBe(true);
  expect(hosts.allows('camera.local', 8080)).toBe(false);
  expect(hosts.allows('cdn.example', 8443)).toBe(true);
  expect(hosts.allows('evil.cdn.example', 80)).toBe(false);
  expect(hosts.allows('10.0.0.9', 8080)).toBe(true);
  expect(hosts.allows('10.0.0.9', 80)).toBe(false);
  expect(hosts.allows('[fd12::7]', 81)).toBe(true);
  const local = new AllowedHosts(new URL('rtsp://127.0.0.1:8554/yard'));
  expect(local.allows('127.0.0.1', 8554)).toBe(true);
  expect(local.allows('127.0.0.1', 80)).toBe(false);
});

test.each([
  'http://169.254.169.254/latest',
  'http://2852039166/',
  'http://0xa9fea9fe/',
  'http://[::ffff:169.254.1.1]/',
])('fetchOnce rejects %s, in any notation', async (url) => {
  await expect(fetchOnce(url, { signal: AbortSignal.timeout(500) })).rejects.toThrow(
    'link-local or reserved',
  );
});

test('connectTo rejects a forbidden address', () => {
  expect(() => connectTo({ host: '169.254.169.254', port: 80 })).toThrow('link-local or reserved');
});

test('fetchOnce does not follow redirects', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(302, { location: '/inner' }).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const answer = await fetchOnce(`http://127.0.0.1:${(server.address() as AddressInfo).port}/outer`, {});
  await answer.body?.cancel();
  expect([answer.status, asked]).toEqual([302, ['/outer']]);
  server.closeAllConnections();
  server.close();
});

test('connections that died while a Lambda was frozen are not used', async () => {
  const sockets = new Set<Socket>();
  const server = createServer((_, response) => void setTimeout(() => response.end('done'), 20));
  server.on('connection', (socket) => void sockets.add(socket.on('error', () => {})));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const ask = async () => {
    const answer = await fetchOnce(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
      method: 'POST',
      body: 'x',
    });
    return answer.text();
  };
  await Promise.all(Array.from({ length: 4 }, ask));
  expect(sockets.size).toBe(4);
  // What is sent over a dead connection is answered by a reset.
  for (const socket of sockets) socket.prependListener('data', () => socket.resetAndDestroy());
  const later = Date.now() + 60_000;
  const now = vi.spyOn(Date, 'now').mockReturnValue(later);
  expect(await ask().finally(() => now.mockRestore())).toBe('done');
  server.closeAllConnections();
  server.close();
});

test.each(['TLSv1', 'TLSv1.1', 'TLSv1.3'] as const)(
  'a camera that supports only %s is reached',
  async (version) => {
    const folder = await mkdtemp(join(tmpdir(), 'outbound-'));
    const { server: pem } = await makeCertificate(folder).finally(() => rm(folder, { recursive: true }));
    const versions = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' };
    const server = createTlsServer({ key: pem, cert: pem, ...versions }, (socket) => socket.end('welcome'));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const socket = connectTo({ host: '127.0.0.1', port, tls: true });
    const [greeting] = await once(socket, 'data');
    expect(String(greeting)).toBe('welcome');
    socket.destroy();
    server.close();
  },
);
