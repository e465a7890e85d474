import { createLogger } from '@video-pipeline/telemetry';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type ConsoleServer, startConsole } from '../../packages/console/src/console.ts';
import { sharedChromium } from './chromium.ts';
import { describeInChromium } from './console-tabs.ts';

const log = createLogger('console');
log.setLogLevel('SILENT');
const away = { KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1', AWS_ENDPOINT_URL: 'http://127.0.0.1:1' };

describeInChromium('the log-in', () => {
  let server: ConsoleServer;
  let browser: Browser;
  beforeAll(async () => {
    server = await startConsole({ port: 0, host: '127.0.0.1', token: 'secret', log, env: away });
    browser = await sharedChromium();
  });
  afterAll(() => server?.close());

  test('reports a wrong token, leads to the requested view, and ends with a log-out', async () => {
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    await page.goto(`${server.url}/#/flow`);
    await page.getByLabel('Token').fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('This is not the token.').waitFor();
    await page.getByLabel('Token').fill('secret');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { name: 'Flow' }).waitFor();
    expect(new URL(page.url()).hash).toBe('#/flow');
    const [cookie] = await page.context().cookies();
    expect(cookie).toMatchObject({ name: 'console', httpOnly: true, sameSite: 'Strict' });
    expect((cookie?.expires ?? 0) * 1_000).toBeGreaterThan(Date.now());
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Token').waitFor();
    expect(await page.context().cookies()).toEqual([]);
    await page.context().addCookies(cookie ? [cookie] : []);
    await page.reload();
    await page.getByLabel('Token').waitFor();
  });
});
