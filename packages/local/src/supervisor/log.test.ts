import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LogFile } from './log.ts';

test.runIf(existsSync('/dev/full'))('a full disk does not end the process that keeps a log', () => {
  const log = new LogFile('/dev/full');
  expect(() => log.write('a line')).not.toThrow();
  log.close();
});
