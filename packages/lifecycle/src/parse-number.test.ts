import { expect, test } from 'vitest';
import { numberThat } from './parse-number.ts';

const share = numberThat((value) => value >= 0 && value <= 1, 'from 0 to 1');

test.each([
  ['0', 0],
  ['0.25', 0.25],
  [' 1 ', 1],
])('"%s" is parsed as a number from 0 to 1', (text, value) => expect(share(text)).toBe(value));

test.each(['', ' ', 'half', '1,5', '2', '-1', 'NaN', 'Infinity'])('"%s" is rejected', (text) =>
  expect(() => share(text)).toThrow('must be from 0 to 1'),
);
