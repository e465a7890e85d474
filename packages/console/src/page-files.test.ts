import { expect, test } from 'vitest';
import { loadPage } from './page-files.ts';

test('what a file of the page imports is a file of the page', () => {
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
