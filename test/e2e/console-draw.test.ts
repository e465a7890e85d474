import { readFile, writeFile } from 'node:fs/promises';
import { detectionsKey } from '@video-pipeline/frame';
import { parseScenes } from '@video-pipeline/scene';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ReceivedCall, startFakeServer } from '../support/fake-server.ts';
import {
  type ConsoleTabs,
  describeInChromium,
  isNear,
  nextFrame,
  openConsole,
  pictureOf,
} from './console-tabs.ts';

const LINE_COLOUR = [255, 214, 10];

/** An inference server of two models; each sees a truck, one surely and one less so, and a car. */
function sees({ path }: ReceivedCall) {
  const seen = (class_name: string, confidence: number) => ({
    ...{ class_id: 7, class_name, confidence },
    bbox: [50, 50, 150, 150],
  });
  const results = [
    { width: 400, height: 300, detections: [seen('truck', 0.8), seen('truck', 0.5), seen('car', 0.9)] },
  ];
  const models = [
    { name: 'small', classes: ['person'] },
    { name: 'yard', classes: ['truck', 'car'] },
  ];
  return { body: path === '/models' ? { models } : { model: 'yard', results } };
}

describeInChromium('drawing on a stream', () => {
  let tabs: ConsoleTabs;
  let list: string;
  const walked = Date.now() - 3_600_000;
  let model: Awaited<ReturnType<typeof startFakeServer>>;
  beforeAll(async () => {
    model = await startFakeServer(sees);
    tabs = await openConsole({ env: { INFERENCE_SERVICE_URL: model.url } });
    list = await savedList();
  });
  beforeEach(() => writeFile(tabs.fixture.streamsFile, list));
  afterAll(async () => {
    await tabs?.close();
    await model?.close();
  });

  /** Zones and lines of the yard, as the page tells them. */
  const listed = (page: Page) =>
    page.getByRole('group', { name: 'Zones and lines' }).locator('.name').allTextContents();
  const savedList = () => readFile(tabs.fixture.streamsFile, 'utf8');
  const savedScene = async () => parseScenes(await savedList(), '').get('yard');
  const savedZone = async (name: string) => (await savedScene())?.zones[name];

  /** What was seen an hour ago: somebody who walks into the left half and stands there. */
  async function storeWalk(): Promise<void> {
    const streamId = 'yard';
    const lines = Array.from({ length: 60 }, (_, number) => {
      const x = Math.max(100, 390 - 10 * number);
      return JSON.stringify({
        stream_id: streamId,
        session: 'walk',
        frame_number: number,
        captured_at: walked + 100 * number,
        width: 400,
        height: 300,
        detections: [{ class_id: 0, class_name: 'person', confidence: 0.9, bbox: [x - 10, 60, x + 10, 120] }],
      });
    });
    const first = { topic: 'detections', partition: 0, offset: 1 };
    const key = detectionsKey({ streamId, capturedAt: walked }, first);
    await tabs.fixture.store.put({ key, body: lines.join('\n'), contentType: 'application/x-ndjson' });
  }

  async function openYard(): Promise<Page> {
    const page = await tabs.open('#/stream/yard');
    await nextFrame(page, 'canvas.screen', null);
    return page;
  }

  test('a zone is drawn with the pointer, corrected after an error, and saved to the streams file', async () => {
    const page = await openYard();
    await page.getByRole('button', { name: 'Draw a zone' }).click();
    let at = await pictureOf(page);
    const corners = [
      [0.1, 0.1],
      [0.4, 0.9],
      [0.4, 0.1],
      [0.1, 0.8],
    ] as const;
    for (const corner of corners) await page.mouse.click(...at(corner));
    await page.getByLabel('Name of the zone').fill('bed');
    await page.getByRole('button', { name: 'Save zone' }).click();
    await page.getByText("'scene.zones.bed.polygon' crosses itself").waitFor();
    // The second corner to where it belongs, the third with it.
    at = await pictureOf(page);
    await page.mouse.move(...at(corners[1]));
    await page.mouse.down();
    await page.mouse.move(...at([0.45, 0.15]), { steps: 3 });
    await page.mouse.up();
    await page.mouse.move(...at(corners[2]));
    await page.mouse.down();
    await page.mouse.move(...at([0.4, 0.9]), { steps: 3 });
    await page.mouse.up();
    await storeWalk();
    await page.getByRole('button', { name: 'Try on the last 24 hours' }).click();
    await page.getByText('In the last 24 hours this would have fired once.').waitFor();
    await page
      .getByRole('list', { name: 'Events that it would have given' })
      .getByText('entered bed')
      .waitFor();
    expect(await savedZone('bed')).toBeUndefined();
    await page.getByRole('button', { name: 'Save zone' }).click();
    await page.getByText('Zone bed is saved.').waitFor();
    expect(await listed(page)).toEqual(['zone lawn', 'zone bed', 'line gate']);
    const drawn = await savedZone('bed');
    const meant = [
      [0.1, 0.1],
      [0.45, 0.15],
      [0.4, 0.9],
      [0.1, 0.8],
    ];
    for (const [i, [x = 0, y = 0]] of meant.entries()) {
      expect(drawn?.polygon[i]?.[0]).toBeCloseTo(x, 2);
      expect(drawn?.polygon[i]?.[1]).toBeCloseTo(y, 2);
    }
    expect(await savedList()).toContain('- id: yard # south');
  });

  test('model, classes and confidence are previewed beside the present ones, and saved', async () => {
    const page = await openYard();
    const panel = page.getByRole('group', { name: 'Detection' });
    await panel.getByLabel('Model').selectOption('yard');
    await panel.getByLabel('truck').check();
    await panel.getByLabel('Confidence of at least').fill('0.6');
    await panel.getByRole('button', { name: 'Show the change' }).click();
    await page.getByText('With the change: 1 truck').waitFor();
    await page.getByText('Today: 1 person, 1 cat').waitFor();
    expect(await savedList()).toBe(list);
    await panel.getByRole('button', { name: 'Save' }).click();
    await panel.getByText('Saved.').waitFor();
    expect(await savedScene()).toMatchObject({
      model: 'yard',
      filters: { classes: ['truck'], min_confidence: 0.6 },
    });
    expect(await panel.getByLabel('truck').isChecked()).toBe(true);
  });

  test('a zone is drawn and saved with the keyboard only', async () => {
    const page = await openYard();
    await page.getByRole('button', { name: 'Draw a zone' }).press('Enter');
    const status = page.getByRole('status').filter({ hasText: 'the cross is' });
    for (const key of [
      'Enter',
      'Shift+ArrowRight',
      'Enter',
      'Shift+ArrowDown',
      'ArrowLeft',
      'Enter',
      'Enter',
    ]) {
      await page.keyboard.press(key);
    }
    await status.getByText('4 points; the cross is 54 % from the left, 55 % from the top.').waitFor();
    await page.keyboard.press('Backspace');
    await status.getByText('3 points').waitFor();
    await page.getByLabel('Name of the zone').fill('mat');
    await page.keyboard.press('Enter');
    await page.getByText('Zone mat is saved.').waitFor();
    expect((await savedZone('mat'))?.polygon).toEqual([
      [0.5, 0.5],
      [0.55, 0.5],
      [0.54, 0.55],
    ]);

    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    expect(await page.getByRole('form', { name: 'Zone' }).isVisible()).toBe(false);
  });

  test('a line is drawn with the pointer, and saved with a rule for crossings', async () => {
    const page = await openYard();
    await page.getByRole('button', { name: 'Draw a line' }).click();
    await page.getByLabel('Name of the line').fill('road');
    let at = await pictureOf(page);
    await page.mouse.click(...at([0.2, 0.2]));
    await page.getByRole('button', { name: 'Save line' }).click();
    await page.getByText('Line: it takes 2 points.').waitFor();
    at = await pictureOf(page);
    // The third point takes the place of the second.
    for (const end of [
      [0.9, 0.9],
      [0.2, 0.8],
    ] as const)
      await page.mouse.click(...at(end));
    await page.getByRole('button', { name: 'Save line' }).click();
    await page.getByText('Line road is saved.').waitFor();
    expect(await listed(page)).toContain('line road');
    const scene = await savedScene();
    expect(scene?.lines.road?.from.map((part) => Number(part.toFixed(2)))).toEqual([0.2, 0.2]);
    expect(scene?.lines.road?.to.map((part) => Number(part.toFixed(2)))).toEqual([0.2, 0.8]);
    expect(scene?.events.at(-1)).toMatchObject({ type: 'line_crossed', name: 'road-crossed', line: 'road' });
    await page.getByRole('button', { name: 'Pause' }).click();
    expect(await isNear(page, [80, 100], LINE_COLOUR)).toBe(true);
  });

  test('a line is drawn, changed and removed with the keyboard only', async () => {
    const page = await openYard();
    await page.getByRole('button', { name: 'Draw a line' }).press('Enter');
    for (const key of ['Enter', 'Shift+ArrowRight', 'Enter']) await page.keyboard.press(key);
    await page.getByLabel('Name of the line').fill('sill');
    await page.keyboard.press('Enter');
    await page.getByText('Line sill is saved.').waitFor();
    expect((await savedScene())?.lines.sill).toMatchObject({ from: [0.5, 0.5], to: [0.55, 0.5] });

    await page.getByRole('button', { name: 'Change line sill' }).press('Enter');
    for (const key of ['Shift+ArrowUp', 'Enter']) await page.keyboard.press(key);
    await page.getByLabel('Name of the line').press('Enter');
    await page.getByText('Line sill is saved.').waitFor();
    expect((await savedScene())?.lines.sill).toMatchObject({ from: [0.5, 0.5], to: [0.5, 0.45] });

    const asked: string[] = [];
    page.on('dialog', (dialog) => {
      asked.push(dialog.message());
      return asked.length === 1 ? dialog.dismiss() : dialog.accept();
    });
    const remove = page.getByRole('button', { name: 'Remove line sill' });
    await remove.press('Enter');
    expect(await listed(page)).toContain('line sill');
    await remove.press('Enter');
    await page.getByText('Line sill is removed.').waitFor();
    expect(asked[0]).toBe('Remove line sill and its rules (sill-crossed)?');
    expect(await listed(page)).not.toContain('line sill');
    const scene = await savedScene();
    expect(scene?.lines).not.toHaveProperty('sill');
    expect(scene?.events.map(({ name }) => name)).not.toContain('sill-crossed');
    expect(
      await page.getByRole('button', { name: 'Draw a zone' }).evaluate((button) => button.matches(':focus')),
    ).toBe(true);
  });

  test('a zone that a filter refers to can not be removed, and the page shows the reason', async () => {
    await writeFile(
      tabs.fixture.streamsFile,
      list.replace('scene:', 'scene:\n    filters: { include: [lawn] }'),
    );
    const page = await openYard();
    page.on('dialog', (dialog) => dialog.accept());
    await page.getByRole('button', { name: 'Remove zone lawn' }).click();
    await page.getByText("'scene.filters.include.0' names 'lawn', which is not under zones").waitFor();
    expect(await savedZone('lawn')).toBeDefined();
  });
});
