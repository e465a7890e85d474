import { expect, test } from 'vitest';
import { parseTime } from './parse-time.ts';

test.each([
  ['2026-11-25', '2026-11-25T00:00:00.000Z'],
  ['2024-02-29', '2024-02-29T00:00:00.000Z'],
  ['2026-11-25T07:00Z', '2026-11-25T07:00:00.000Z'],
  ['2026-11-25T07:00:01.5+01:30', '2026-11-25T05:30:01.500Z'],
])('%s is parsed as a time', (text, iso) => expect(parseTime(text).toISOString()).toBe(iso));

test.each(['', '7', 'noon', 'Nov 3', '2026-02-30', '2026-02-29T00:00Z', '2026-11-25T25:00Z', '2026-13-01'])(
  '"%s" is rejected, although JavaScript might parse it',
  (text) => expect(() => parseTime(text)).toThrow('not a time such as 2026-11-25T07:30:00Z'),
);
