import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
/** Whose port it is already. `npm start` and `up` have theirs in start.test.ts. */
const other = createServer();
let port: number;
beforeAll(async () => {
  await once(other.listen(0, '127.0.0.1'), 'listening');
  port = (other.address() as AddressInfo).port;
});
afterAll(() => void other.close());

test.each([
  ['npm run console', 'packages/console/src/main.ts', [], 'CONSOLE_PORT'],
  ['npm run model', 'model/src/main.ts', [], 'PORT'],
  ['npm run producer', 'ingest-host/src/producer.ts', ['--rtsp-url', 'rtsp://127.0.0.1:1/x'], 'HEALTH_PORT'],
  ['the ingest host', 'ingest-host/src/main.ts', [], 'HEALTH_PORT'],
] as const)(
  '%s: a port in use is an error with the variable of the port',
  async (_, script, args, variable) => {
    const env = { ...process.env, [variable]: String(port), STREAMS: '[{id: a, url: rtsp://127.0.0.1:1/a}]' };
    const output = await new Promise<string>((resolve) => {
      execFile(process.execPath, [join(ROOT, script), ...args], { env, timeout: 60_000 }, (_, _out, stderr) =>
        resolve(stderr),
      );
    });
    const lines = output.split('\n').filter((line) => !/Warning|--trace-warnings/.test(line));
    expect(lines.join('\n').trim()).toBe(
      `port ${port} of 127.0.0.1 is taken: set ${variable} to another, or stop what listens there`,
    );
  },
);
