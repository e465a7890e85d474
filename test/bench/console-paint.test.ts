import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ConsoleTabs, describeInChromium, firstPaint, openConsole, VIEWS } from '../e2e/console-tabs.ts';

describeInChromium('the first paint', () => {
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    tabs = await openConsole();
  });
  afterAll(() => tabs?.close());

  test.each(VIEWS)('of %s is done within a second', async (hash) => {
    const { ms, cpuMs } = await firstPaint(tabs, hash);
    console.log(hash, { ms, cpuMs });
    expect(ms).toBeLessThan(1_000);
  });
});
