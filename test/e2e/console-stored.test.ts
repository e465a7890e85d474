import { eventKey } from '@video-pipeline/frame';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { annotate, detectedFrame, sceneEvent } from './console-fixture.ts';
import { type ConsoleTabs, describeInChromium, openConsole } from './console-tabs.ts';

/** A camera that does not send now. */
const LISTED = '- id: shed\n  url: rtsp://cam/1\n';
const LONG = { timeout: 20_000 };
const NOT_KEPT = 'This picture was not kept: STORE=events keeps those around events and detections of cat.';

describeInChromium('stored pictures on the page', () => {
  let tabs: ConsoleTabs;
  beforeAll(async () => {
    tabs = await openConsole({ STORE: 'events', STORE_CLASSES: 'cat' }, LISTED);
  });
  afterAll(() => tabs?.close());

  test('a picture that was not kept says why, wherever it would be shown', async () => {
    const { store } = tabs.fixture;
    const withoutPictures = {
      ...store,
      put: async (object: Parameters<typeof store.put>[0]) =>
        object.key.endsWith('.jpg') ? undefined : store.put(object),
    };
    const at = Date.now() - 600_000;
    const frames = [at - 100, at].map((time, i) => detectedFrame('shed', i, time, tabs.jpeg));
    await annotate(withoutPictures, frames);
    const event = sceneEvent('shed', 1, at);
    await store.put({ key: eventKey(event), body: JSON.stringify(event), contentType: 'application/json' });

    const search = await tabs.open('#/search?stream=shed');
    const said = search.locator('.grid .missing');
    await said.first().waitFor(LONG);
    expect(await said.allTextContents()).toEqual([NOT_KEPT, NOT_KEPT]);
    await search.locator('.grid button').first().press('Enter');
    await search.getByRole('dialog').getByText(NOT_KEPT).waitFor(LONG);

    const events = await tabs.open('#/events?stream=shed');
    await events.locator('.event .missing').getByText(NOT_KEPT).waitFor(LONG);
    await events.getByRole('link', { name: 'person t-1 entered lawn' }).click();
    await events.getByRole('dialog').getByText(NOT_KEPT).waitFor(LONG);

    const timeline = await tabs.open(`#/timeline?stream=shed&around=${at}`);
    await timeline.locator('.preview').getByText(NOT_KEPT).waitFor(LONG);

    const wall = await tabs.open('#/');
    await wall.getByRole('listitem').filter({ hasText: `last frame` }).getByText(NOT_KEPT).waitFor(LONG);
  });
});
