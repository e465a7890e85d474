import { expect, test } from 'vitest';
import { startWatchdog } from './watchdog.ts';

test('a watchdog that was stopped aborts again once it is fed and then is not', async () => {
  const watchdog = startWatchdog(20);
  watchdog.stop();
  watchdog.feed();
  await expect.poll(() => watchdog.signal.aborted).toBe(true);
});

test('a watchdog that was stopped does not abort', async () => {
  const watchdog = startWatchdog(1);
  watchdog.feed();
  watchdog.stop();
  await new Promise((done) => setTimeout(done, 20));
  expect(watchdog.signal.aborted).toBe(false);
});
