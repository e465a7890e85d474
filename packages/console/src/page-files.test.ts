import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadPage } from './page-files.ts';

test('each file that a page file imports is a page file', () => {
  const page = loadPage();
  const imported = [...page].flatMap(([name, { body }]) =>
    name.endsWith('.ts')
      ? Array.from(body.matchAll(/(?:^import\b[^;]*? from |\bimport\()'([^']+)'/gm), ([, from]) => from)
      : [],
  );
  const names = new Set(imported);
  expect(names).toContain('./keypoints.ts');
  expect(names).toContain('./hues.ts');
  expect(names).toContain('./uplot.js');
  expect(names).toContain('./flow-view.ts');
  expect([...names].filter((name) => !page.has(name?.replace(/^\.\//, '') ?? ''))).toEqual([]);
});

test('a later start reuses the bundle of an earlier one, unless its sources changed or it is truncated', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'page-'));
  const file = join(folder, 'console-page.json');
  try {
    const page = loadPage(folder);
    const text = await readFile(file, 'utf8');
    const { of, bodies } = JSON.parse(text);
    await writeFile(file, JSON.stringify({ of, bodies: bodies.map(() => 'kept') }));
    expect(new Set([...loadPage(folder).values()].map(({ body }) => body))).toEqual(new Set(['kept']));
    for (const other of [JSON.stringify({ of: 'other sources', bodies }), text.slice(0, -9), '']) {
      await writeFile(file, other);
      expect(loadPage(folder)).toEqual(page);
      expect(await readFile(file, 'utf8')).toBe(text);
    }
    expect(loadPage(join(folder, 'none'))).toEqual(page);
  } finally {
    await rm(folder, { recursive: true });
  }
});
