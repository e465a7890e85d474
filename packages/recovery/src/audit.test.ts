import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const SCRIPT = join(import.meta.dirname, '../../../test/support/many-frames.ts');

test('the audit reads four partitions at a time in little memory, and lists only the hours of its frames', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--max-old-space-size=64',
    SCRIPT,
    '12000',
  ]);
  const { report, expected, listed, fetches } = JSON.parse(stdout);
  expect(report).toMatchObject(expected);
  expect(fetches).toBe(4);
  // The 600 frames of a stream take a minute. An archive of the minute before may reach into it.
  expect(listed).toBeLessThan(20 * 2_000);
}, 120_000);
