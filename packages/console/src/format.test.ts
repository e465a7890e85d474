import { expect, test, vi } from 'vitest';

// The page's modules read the address from which they were loaded.
vi.stubGlobal('document', { baseURI: 'http://localhost/' });
const { byName, tickText } = await import('../page/format.ts');

test('streams are sorted by the numbers in their names', () => {
  expect(['yard', 'gate-10', 'gate-2', 'Dock'].sort(byName)).toEqual(['Dock', 'gate-2', 'gate-10', 'yard']);
});

test.each([
  [0, 15, '11-30'],
  [9_015, 15, '02:30:15'],
  [9_000, 3_600, '02:30'],
])('%i s after midnight, with a step of %i s, has the label %s under a chart', (after, step, text) => {
  expect(tickText(new Date(2026, 10, 30).getTime() + after * 1_000, step)).toBe(text);
});
