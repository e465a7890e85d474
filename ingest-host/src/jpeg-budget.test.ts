import { expect, test } from 'vitest';
import { JpegBudget, quantizerOf, scaledSize } from './jpeg-budget.ts';

/** Sizes as an encoder would give them, `complexity` bytes at quantizer 1. */
function encode(budget: JpegBudget, complexity: number): { bytes: number; tries: number } {
  for (let tries = 1; ; tries += 1) {
    const { quantizer, scale } = budget.setting;
    const bytes = (complexity * scale ** 2) / quantizer;
    const verdict = budget.check(bytes);
    if (verdict === 'fits') return { bytes, tries };
    if (verdict === 'impossible') throw new Error('impossible');
  }
}

test('quantizerOf gives finer quantizers for a better quality', () => {
  expect([100, 95, 85, 75, 50, 10].map(quantizerOf)).toEqual([1, 1, 2, 3, 7, 31]);
});

test('every JPEG is within the budget, however the scene changes', () => {
  const budget = new JpegBudget(100_000, 85);
  for (const complexity of [100_000, 4_000_000, 50_000_000, 300_000]) {
    for (let frame = 0; frame < 100; frame += 1)
      expect(encode(budget, complexity).bytes).toBeLessThanOrEqual(100_000);
  }
});

test('at the limit of the budget the quality does not oscillate', () => {
  const budget = new JpegBudget(100_000, 85);
  let changes = 0;
  let before = budget.setting;
  for (let frame = 0; frame < 1000; frame += 1) {
    encode(budget, 200_000 * (0.9 + 0.2 * (frame % 2)));
    if (budget.setting !== before) changes += 1;
    before = budget.setting;
  }
  expect(changes).toBe(1);
});

test('quality increases step by step when the scene is simple again', () => {
  const budget = new JpegBudget(100_000, 85);
  encode(budget, 10_000_000);
  expect(budget.setting.scale).toBeLessThan(1);
  for (let frame = 0; frame < 2000; frame += 1) encode(budget, 100_000);
  expect(budget.setting).toEqual({ quantizer: quantizerOf(85), scale: 1 });
});

test('a picture that can not fit the budget is an error', () => {
  const budget = new JpegBudget(1000, 85);
  expect(() => encode(budget, 1e12)).toThrow('impossible');
});

test.each([
  [1280, 720, 0.75, 960, 540],
  [1366, 768, 0.5, 684, 384],
  [3, 3, 0.125, 2, 2],
])('scaledSize of %ix%i by %f is %ix%i', (width, height, scale, newWidth, newHeight) => {
  expect(scaledSize(width, height, scale)).toEqual({ width: newWidth, height: newHeight });
});
