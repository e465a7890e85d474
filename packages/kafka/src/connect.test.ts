import { readConfig } from '@video-pipeline/config';
import { expect, test } from 'vitest';
import { connectKafka, KAFKA_VARIABLES } from './connect.ts';

test('an unreachable broker is reported to our logger, and named', async () => {
  const lines: string[] = [];
  const note = (message: string, extra: Record<string, unknown>) =>
    lines.push(`${message} ${JSON.stringify(extra)}`);
  const settings = readConfig(KAFKA_VARIABLES, { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1' });
  const kafka = connectKafka('test', { warn: note, error: note }, settings, { retry: { retries: 0 } });
  await expect(kafka.admin().connect()).rejects.toThrow('127.0.0.1:1');
  expect(lines.some((line) => line.startsWith('kafka: ') && line.includes('127.0.0.1:1'))).toBe(true);
});
