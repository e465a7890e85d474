import { expect, test } from 'vitest';
import { type Colour, classColour, readableOn, trackColour } from './colour.ts';

test('neighbouring classes have different colours, and a class always has the same colour', () => {
  const colours = Array.from({ length: 10 }, (_, classId) => classColour(classId));
  for (const [index, one] of colours.entries()) {
    expect(classColour(index)).toEqual(one);
    for (const other of colours.slice(index + 1)) {
      expect(Math.max(...one.map((part, at) => Math.abs(part - (other[at] ?? 0))))).toBeGreaterThan(25);
    }
  }
});

test('every class has a colour, whatever its number', () => {
  for (const classId of [0, 79, 999, 2 ** 31]) {
    for (const part of classColour(classId)) expect(part >= 0 && part <= 255).toBe(true);
  }
});

test.each<[string, Colour, Colour]>([
  ['yellow', [255, 230, 0], [0, 0, 0]],
  ['blue', [20, 20, 230], [255, 255, 255]],
  ['white', [255, 255, 255], [0, 0, 0]],
  ['black', [0, 0, 0], [255, 255, 255]],
])('text on %s is black or white, whichever is readable', (_name, background, text) => {
  expect(readableOn(background)).toEqual(text);
});

test('a track keeps its colour, and most tracks have different colours', () => {
  const ids = Array.from({ length: 20 }, (_, index) => `mjx0f2a8-${index}`);
  const colours = ids.map((id) => trackColour(id).join());
  expect(ids.map((id) => trackColour(id).join())).toEqual(colours);
  expect(new Set(colours).size).toBeGreaterThan(15);
});
