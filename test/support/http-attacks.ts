import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Sends bytes unchanged. @returns the bytes received until the server closed the connection, or for `ms` */
export async function send(url: string, bytes: string, ms = 300): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let answer = '';
  socket.on('data', (data) => {
    answer += data;
  });
  socket.on('error', () => {});
  socket.write(Buffer.from(bytes, 'latin1'));
  await Promise.race([new Promise((resolve) => socket.once('close', resolve)), sleep(ms)]);
  socket.destroy();
  return answer;
}

export const request = (line: string, ...headers: string[]) =>
  `${[line, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n`;

/** Malformed requests, and requests for forbidden paths: no response may have status 200. */
export const httpAttacks: [what: string, bytes: string][] = [
  ['no HTTP', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03'],
  ['an endless line', 'A'.repeat(200_000)],
  ['a header of 1 MB', request('GET / HTTP/1.1', `X: ${'a'.repeat(1e6)}`)],
  [
    'ten thousand headers',
    request('GET / HTTP/1.1', ...Array.from({ length: 10_000 }, (_, index) => `X${index}: 1`)),
  ],
  ['no host', 'GET /health HTTP/1.1\r\n\r\n'],
  ['two lengths', `${request('POST /predict HTTP/1.1', 'Content-Length: 5', 'Content-Length: 6')}hello!`],
  [
    'a length and chunks',
    `${request('POST /predict HTTP/1.1', 'Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
  ],
  ['a negative length', request('POST /login HTTP/1.1', 'Content-Length: -1')],
  [
    'a chunk of 2^64 bytes',
    `${request('POST /login HTTP/1.1', 'Transfer-Encoding: chunked')}fffffffffffffffff\r\n`,
  ],
  ['a body cut short', `${request('POST /login HTTP/1.1', 'Content-Length: 1000')}token=`],
  ['an upgrade', request('GET / HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket')],
  ['a proxy request', request('CONNECT 169.254.169.254:80 HTTP/1.1')],
  ...[
    '//',
    '//host',
    '/\\\\',
    'http://[',
    '*',
    '/%',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/page/..%2f..%2fpackage.json',
    '/\0',
    `/${'a/'.repeat(4000)}`,
  ].map((path): [string, string] => [`GET ${path.slice(0, 30)}`, request(`GET ${path} HTTP/1.1`)]),
];
