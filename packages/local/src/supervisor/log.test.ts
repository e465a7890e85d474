import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LogFile } from './log.ts';

test.runIf(existsSync('/dev/full'))('a full disk does not end the process that writes the log', () => {
  const log = new LogFile('/dev/full');
  expect(() => log.write('a line')).not.toThrow();
  log.close();
});

test('a deleted folder does not end the process, and the log continues when the folder is back', () => {
  const folder = mkdtempSync(join(tmpdir(), 'log-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'it.log');
  const log = new LogFile(path);
  const write = (line: string) => log.write(line.padEnd(1_000_000));
  for (let line = 0; line < 5; line++) write('before');
  rmSync(folder, { recursive: true });
  expect(() => write('meanwhile')).not.toThrow();
  mkdirSync(folder);
  write('after');
  log.close();
  expect(readFileSync(path, 'utf8')).toMatch(/^after +\n$/);
});
