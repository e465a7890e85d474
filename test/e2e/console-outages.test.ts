import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectS3, ensureBucket, type S3Server, startS3Proxy } from '@video-pipeline/local';
import { createStore } from '@video-pipeline/storage';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { annotate, BUCKET, detectedFrame } from './console-fixture.ts';
import { type ConsoleTabs, describeInChromium, nextFrame, openConsole, shownFrame } from './console-tabs.ts';

/** Those of the fixture's console. */
const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const TELLING = { timeout: 30_000 };
const YARD = 'a[href="#/stream/yard"] canvas';

describeInChromium('an outage', () => {
  let folder: string;
  let s3: S3Server;
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'console-outages-'));
    s3 = await startS3Proxy({ dataDir: folder, credentials: CREDENTIALS });
    const client = connectS3(s3.url, CREDENTIALS);
    await ensureBucket(client, BUCKET);
    client.destroy();
    tabs = await openConsole({ env: { AWS_ENDPOINT_URL: s3.url }, kafka: undefined });
    const store = createStore({ S3_BUCKET: BUCKET, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: s3.url });
    await annotate(store, [detectedFrame('dock', 0, Date.now() - 3_600_000, tabs.jpeg)]);
  });
  afterAll(async () => {
    await tabs?.close();
    await s3?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('of S3 or Kafka is shown while live pictures continue, and disappears when it ends', async () => {
    const page = await tabs.open('#/');
    await nextFrame(page, YARD, null);
    const outages = page.locator('#outages');
    await expect.poll(() => outages.textContent(), TELLING).toBe('');
    await s3.kill();
    try {
      await outages.getByText("S3 can't be reached since").waitFor(TELLING);
      await nextFrame(page, YARD, await shownFrame(page, YARD));
      await page.getByRole('link', { name: 'Search' }).click();
      await page.getByRole('status').filter({ hasText: 'Search failed' }).waitFor(TELLING);
      expect(await outages.textContent()).not.toContain('Kafka');
      await tabs.fixture.kafka?.kill();
    } finally {
      const port = Number(new URL(s3.url).port);
      s3 = await startS3Proxy({ dataDir: folder, port, credentials: CREDENTIALS });
    }
    try {
      await Promise.all([
        outages.getByText("Kafka can't be reached since").waitFor(TELLING),
        outages.getByText('S3 is back since').waitFor(TELLING),
      ]);
      await page.getByRole('button', { name: 'Search' }).click();
      await page.getByRole('status').filter({ hasText: '1 frame, all there are' }).waitFor(TELLING);
    } finally {
      await tabs.fixture.restartKafka();
    }
    await outages.getByText('Kafka is back since').waitFor(TELLING);
    await page.getByRole('link', { name: 'Live' }).click();
    await nextFrame(page, YARD, await shownFrame(page, YARD));
    await expect.poll(() => outages.textContent(), TELLING).toBe('');
    // What the table tells of it does not make a phone scroll sideways.
    await page.setViewportSize({ width: 390, height: 844 });
    await page.getByRole('link', { name: 'Flow' }).click();
    await page
      .getByRole('cell', { name: /^away for / })
      .first()
      .waitFor(TELLING);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });

  test('of an S3 that hangs is shown within ten seconds, and requests that waited continue afterwards', async () => {
    const page = await tabs.open('#/search');
    await page.getByRole('status').filter({ hasText: 'all there are' }).waitFor(TELLING);
    process.kill(s3.pid, 'SIGSTOP');
    const told = { timeout: 15_000 };
    try {
      await page.locator('#outages').getByText("S3 can't be reached since").waitFor(told);
      // Nothing of it is remembered from before.
      await page.getByLabel('From').fill('2020-01-01T00:00');
      await page.getByRole('button', { name: 'Search' }).click();
      await page.getByRole('status').filter({ hasText: 'S3 does not answer' }).waitFor(told);
      await page.getByRole('link', { name: 'Failed' }).click();
      await page.getByRole('status').filter({ hasText: 'S3 does not answer' }).waitFor(told);
    } finally {
      process.kill(s3.pid, 'SIGCONT');
    }
    await Promise.all([
      page.getByRole('status').filter({ hasText: 'Nothing has failed' }).waitFor(TELLING),
      page.locator('#outages').getByText('S3 is back since').waitFor(TELLING),
    ]);
  });
});
