import { expect, test } from 'vitest';
import { startWatchdog } from './watchdog.ts';

test('a stopped watchdog aborts again after a feed without a further feed', async () => {
  const watchdog = startWatchdog(20);
  watchdog.stop();
  watchdog.feed();
  await expect.poll(() => watchdog.signal.aborted).toBe(true);
});

test('a stopped watchdog does not abort', async () => {
  const watchdog = startWatchdog(1);
  watchdog.feed();
  watchdog.stop();
  await new Promise((done) => setTimeout(done, 20));
  expect(watchdog.signal.aborted).toBe(false);
});
