import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { AllowedHosts } from '@video-pipeline/outbound';
import { expect, onTestFinished, test } from 'vitest';
import { openSource, redirected } from './open.ts';

const open = (url: string) => openSource(url, { transport: 'tcp', timeoutSeconds: 2 });

test.each([
  ['rtsp://admin:pa#ss@127.0.0.1/x', 'in a password, # / ? @ and : must be percent-encoded'],
  // The host would be `admin`, and its port 12.
  ['rtsp://admin:12#3@127.0.0.1/x', 'in a password, # / ? @ and : must be percent-encoded'],
  ['rtsp://127.0.0.1:99999/x', 'not a URL: check its host and port'],
  ['ftp://127.0.0.1/x', "'ftp:' is none of file, http, https, rtsp,"],
  ['udp://127.0.0.1', 'needs a port'],
])('openSource(%s) fails with the reason', async (url, error) => {
  const opening = open(url);
  await expect(opening).rejects.toThrow(error);
  await expect(opening).rejects.toMatchObject({ permanent: true });
});

test.each([
  [
    'rtsp://127.0.0.1:1/y',
    "leads to rtsp://127.0.0.1:1, another port of its host, which is not among 'hosts'",
  ],
  ['rtsp://127.0.0.2:1/y', "leads to rtsp://127.0.0.2:1, which is neither its own host nor among 'hosts'"],
  ['http://OWN/y', 'which is not RTSP'],
  ['rtsp://:x:/', 'redirects to what is not a URL'],
  ['/other', 'redirects more than 3 times'],
])('a redirect to %s is not followed, and the error has the reason', async (location, error) => {
  const camera = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => {
      const { port } = camera.address() as AddressInfo;
      const to = location.replace('OWN', `127.0.0.1:${port}`);
      socket.write(`RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: ${to}\r\n\r\n`);
    });
  });
  camera.listen(0, '127.0.0.1');
  await once(camera, 'listening');
  onTestFinished(() => void camera.close());
  await expect(open(`rtsp://127.0.0.1:${(camera.address() as AddressInfo).port}/x`)).rejects.toThrow(error);
});

test.each([
  ['rtsp://admin:p@cam/x', 'rtsp://CAM/y', 'admin'],
  ['rtsp://admin:p@cam/x', 'rtsps://cam/y', 'admin'],
  ['rtsp://admin:p@cam/x', 'rtsp://cam:8554/y', 'admin'],
  ['rtsp://admin:p@cam/x', 'rtsp://other/y', ''],
  ['rtsp://admin:p@cam/x', 'rtsp://me:q@other/y', 'me'],
  ['rtsps://admin:p@cam/x', 'rtsps://cam:8322/y', 'admin'],
  ['rtsps://admin:p@cam/x', 'rtsp://cam/y', ''],
])('%s redirects to %s: the user name there is %j', (from, to, user) => {
  const url = new URL(from);
  expect(redirected(to, url, new AllowedHosts(url, ['cam', 'other'])).username).toBe(user);
});

test('a redirect to another port of the host is rejected as such, in any case of letters', () => {
  const url = new URL('rtsp://cam/x');
  expect(() => redirected('rtsp://CAM:8554/y', url, new AllowedHosts(url))).toThrow(
    'another port of its host',
  );
});

test('a recording whose URL is redirected is read for the same time range', () => {
  const url = new URL('rtsp://cam/x#clock=20261125T070000Z-20261125T071000Z');
  expect(redirected('rtsp://cam/y', url, new AllowedHosts(url)).hash).toBe(url.hash);
});
