import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { checkOnce, getHttp, messageOf } from './health.ts';

/** Address of a server that answers so. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close().closeAllConnections());
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a response is returned completely, whatever its status', async () => {
  const url = await serve((_, response) => response.writeHead(503).end('{"état": 1}'));
  expect(await getHttp(url)).toEqual({ status: 503, text: '{"état": 1}' });
});

test.each<[string, RequestListener, string]>([
  ['is cut off', (_, response) => void response.write('half', () => response.destroy()), 'aborted'],
  ['stops midway', (_, response) => void response.write('half'), 'it has not answered in time'],
  ['is too long', (_, response) => void response.end('x'.repeat(2_000_001)), 'over 2000000 characters'],
])('a response that %s is an error', async (_, answer, reason) => {
  const url = await serve(answer);
  const { part } = await checkOnce({ part: async () => void (await getHttp(url, 500)) }, 5_000);
  expect(part).toMatchObject({ ok: false, error: expect.stringContaining(reason) });
});

test('an error without a message is reported by its code', () => {
  // Of a name with two addresses, neither of which answers.
  const refused = Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' });
  expect(messageOf(refused)).toBe('ECONNREFUSED');
  expect(messageOf(new Error('no answer', { cause: refused }))).toBe('no answer: ECONNREFUSED');
});
