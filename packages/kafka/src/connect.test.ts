import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { readConfig } from '@video-pipeline/config';
import { expect, onTestFinished, test } from 'vitest';
import { connectKafka, KAFKA_VARIABLES } from './connect.ts';

test('an unreachable broker is logged with its address', async () => {
  const lines: string[] = [];
  const note = (message: string, extra: Record<string, unknown>) =>
    lines.push(`${message} ${JSON.stringify(extra)}`);
  const settings = readConfig(KAFKA_VARIABLES, { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1' });
  const kafka = connectKafka('test', { warn: note, error: note }, settings, { retry: { retries: 0 } });
  await expect(kafka.admin().connect()).rejects.toThrow('127.0.0.1:1');
  expect(lines.some((line) => line.startsWith('kafka: ') && line.includes('127.0.0.1:1'))).toBe(true);
});

test('a TLS handshake of two seconds is waited for', async () => {
  // The server accepts the connection, and never answers.
  const server = createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const broker = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const settings = readConfig(KAFKA_VARIABLES, { KAFKA_BOOTSTRAP_SERVERS: broker, KAFKA_AUTH: 'tls' });
  const quiet = { warn: () => {}, error: () => {} };
  const kafka = connectKafka('test', quiet, settings, { retry: { retries: 0 } });
  const began = performance.now();
  await expect(kafka.admin().connect()).rejects.toThrow('Connection timeout');
  expect(performance.now() - began).toBeGreaterThan(2_500);
});
