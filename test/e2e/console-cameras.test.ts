import { readFile, writeFile } from 'node:fs/promises';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { startHealthServer } from '../../ingest-host/src/health.ts';
import { createStats, type StreamStats } from '../../ingest-host/src/stats.ts';
import { annotate, detectedFrame } from './console-fixture.ts';
import { type ConsoleTabs, describeInChromium, nextFrame, openConsole } from './console-tabs.ts';

const TELLING = { timeout: 20_000 };
/** Two send, as every console fixture has them; the others don't. */
const LIST = `- {id: yard, name: The yard, url: rtsp://admin:secret@cam/1}
- {id: gate, url: rtsp://cam/2}
- {id: roof, url: rtsp://cam/3}
- {id: shed, url: rtsp://cam/4, disabled: true}
- {id: ${'long-'.repeat(19)}, url: rtsp://cam/5}
`.replace('-, url', 'x, url');
const LONG = `${'long-'.repeat(19).slice(0, -1)}x`;

describeInChromium('cameras in the console', () => {
  const stats = new Map<string, StreamStats>();
  let ingest: Awaited<ReturnType<typeof startHealthServer>>;
  let tabs: ConsoleTabs;
  const yesterday = Date.now() - 86_400_000;
  beforeEach(() => {
    for (const id of ['yard', 'gate']) stats.set(id, { ...createStats(), state: 'flowing' });
    stats.set('roof', { ...createStats(), state: 'waiting', lastError: 'Connection refused' });
    stats.set(LONG, createStats());
  });
  beforeAll(async () => {
    ingest = await startHealthServer({ host: '127.0.0.1', port: 0 }, stats, new Registry());
    tabs = await openConsole({ env: { INGEST_URL: ingest.url }, list: LIST });
    await annotate(tabs.fixture.store, [detectedFrame('roof', 3, yesterday, tabs.jpeg)]);
  });
  afterAll(async () => {
    await tabs?.close();
    await ingest?.close();
  });
  const tile = (page: Awaited<ReturnType<ConsoleTabs['open']>>, id: string) =>
    page.locator(`a.card[href="#/stream/${id}"]`);

  test('that send nothing have a tile with the reason and their last stored picture', async () => {
    const page = await tabs.open('#/');
    await nextFrame(page, 'a[href="#/stream/yard"] canvas', null);
    await tile(page, 'roof').getByText('Connection refused').waitFor(TELLING);
    expect(await tile(page, 'roof').locator('.state').textContent()).toBe('failing');
    const stored = tile(page, 'roof').getByRole('img', { name: 'The last picture of roof' });
    await expect
      .poll(() => stored.evaluate((img) => (img as HTMLImageElement).naturalWidth), TELLING)
      .toBe(400);
    // A search through what is stored costs much: none is made for a stream that sends.
    const asked = await page.evaluate(() =>
      performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname),
    );
    expect(asked).toContain('/api/streams/roof/last');
    expect(asked).not.toContain('/api/streams/yard/last');
    expect(await tile(page, 'shed').locator('.state').textContent()).toBe('disabled');
    expect(await tile(page, LONG).locator('.state').textContent()).toBe('starting');
    await expect.poll(() => page.locator('.state.live').count(), TELLING).toBe(2);
    // It is mended, and says so.
    stats.set('roof', createStats());
    await expect.poll(() => tile(page, 'roof').locator('.state').textContent(), TELLING).toBe('starting');
  });

  test('with a name of 95 letters do not make the page scroll sideways on a phone', async () => {
    const page = await tabs.open('#/', { viewport: { width: 390, height: 844 } });
    for (const hash of ['#/', `#/stream/${LONG}`]) {
      await page.evaluate((to) => (location.hash = to), hash);
      await page.getByText(LONG).first().waitFor(TELLING);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide, hash).toBeLessThanOrEqual(390);
    }
  });

  test.each([
    ['#/stream/%', 'There is nothing at this address'],
    ['#/nowhere', 'There is nothing at this address'],
    ['#/stream/nobody', "There is no stream 'nobody'"],
  ])('%s shows that the page or the stream does not exist', async (hash, told) => {
    const page = await tabs.open(hash);
    await page.getByText(told).waitFor(TELLING);
  });

  test('are shown by their name, with links to the next ones, in tiles of the chosen width', async () => {
    const page = await tabs.open('#/');
    await expect.poll(() => tile(page, 'yard').locator('.name').textContent(), TELLING).toBe('The yard');
    await page.getByLabel('Width of a tile').fill('500');
    await page.getByLabel('Width of a tile').press('Enter');
    expect((await tile(page, 'yard').boundingBox())?.width).toBeGreaterThanOrEqual(500);
    await tile(page, 'yard').click();
    await page.getByRole('heading', { name: 'The yard' }).waitFor(TELLING);
    await page.getByRole('link', { name: 'Previous camera' }).click();
    await page.getByRole('heading', { name: 'shed' }).waitFor(TELLING);
    await page.getByRole('link', { name: 'Next camera' }).click();
    await page.getByRole('heading', { name: 'The yard' }).waitFor(TELLING);
    await page.getByRole('button', { name: 'Full screen' }).click();
    await expect.poll(() => page.evaluate(() => document.fullscreenElement?.className)).toBe('picture');
  });

  test('the skip link moves the focus to the main content', async () => {
    const page = await tabs.open('#/flow');
    await page.getByRole('heading', { name: 'Flow' }).waitFor();
    await page.locator('.skip').press('Enter');
    expect(await page.getByRole('heading', { name: 'Flow' }).count()).toBe(1);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('content');
  });

  test('can be added, changed, disabled, enabled and removed in the page, which never shows passwords', async () => {
    const { streamsFile } = tabs.fixture;
    await writeFile(streamsFile, LIST);
    const page = await tabs.open('#/cameras');
    const row = (id: string) =>
      page.getByRole('row').filter({ has: page.getByRole('link', { name: id, exact: true }) });
    const told = (text: string) =>
      page.getByRole('status').filter({ hasText: text }).first().waitFor(TELLING);
    await row('roof').getByText('failing: Connection refused').waitFor(TELLING);
    expect(await page.locator('main').textContent()).not.toMatch(/secret/);
    await page.getByLabel('Name').fill('porch');
    await page.getByLabel('Address').fill('rtsp://cam/6');
    await page.getByLabel('User').fill('admin');
    await page.getByLabel('Password').fill('p@ss/word');
    await page.getByLabel('Frames a second').fill('2.5');
    await page.getByRole('button', { name: 'Save camera' }).click();
    await told('porch is saved');
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toBe('Save camera');
    const entry = { id: 'porch', url: 'rtsp://admin:p%40ss%2Fword@cam/6', frame_rate: 2.5 };
    const listed = async () =>
      (parse(await readFile(streamsFile, 'utf8')) as { id: string }[]).find(({ id }) => id === 'porch');
    expect(await listed()).toEqual(entry);
    expect(await row('porch').textContent()).toContain('rtsp://***@cam/6');
    // Its password stays where its address does.
    await page.getByRole('button', { name: 'Edit porch' }).click();
    await page.getByLabel('Frames a second').fill('1');
    await page.getByRole('button', { name: 'Save camera' }).click();
    await expect.poll(listed, TELLING).toEqual({ ...entry, frame_rate: 1 });
    await page.getByRole('button', { name: 'Disable porch' }).click();
    await expect.poll(listed, TELLING).toMatchObject({ disabled: true });
    await row('porch').getByText('disabled').waitFor(TELLING);
    await page.getByRole('button', { name: 'Enable porch' }).click();
    await expect.poll(listed, TELLING).not.toHaveProperty('disabled');
    page.on('dialog', (dialog) => dialog.accept());
    await page.getByRole('button', { name: 'Remove porch' }).click();
    await told('porch is removed');
    expect(parse(await readFile(streamsFile, 'utf8'))).toEqual(parse(LIST));
    // What is wrong is said in words.
    await page.getByLabel('Name').fill('porch');
    await page.getByLabel('Address').fill('gopher://cam/6');
    await page.getByRole('button', { name: 'Save camera' }).click();
    await told("'url' must be a path, or a URL of rtsp, rtsps, http, https, srt, rtmp, rtmps, udp");
  });

  test('an outage of ingest is shown in the page, and disappears when ingest responds again', async () => {
    const page = await tabs.open('#/flow');
    const { port } = new URL(ingest.url);
    await ingest.close();
    try {
      await page.locator('#outages').getByText("Ingest can't be reached since").waitFor(TELLING);
      const item = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'ingest' }) });
      await item.getByText('does not answer').waitFor(TELLING);
    } finally {
      ingest = await startHealthServer({ host: '127.0.0.1', port: Number(port) }, stats, new Registry());
    }
    await page.locator('#outages').getByText('Ingest is back since').waitFor(TELLING);
  });
});
