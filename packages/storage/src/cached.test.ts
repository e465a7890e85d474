import { expect, test } from 'vitest';
import { cached } from './cached.ts';

test('the newest values are cached up to a weight, and failed or old ones are read again', async () => {
  const loads: string[] = [];
  const load = async (name: string) => {
    loads.push(name);
    if (name === 'bad') throw new Error('bad');
    return name;
  };
  const get = cached(load, 60_000, 6, (value) => value.length);
  for (const name of ['aaa', 'bbb', 'aaa', 'cc', 'bbb', 'aaa']) expect(await get(name)).toBe(name);
  expect(loads).toEqual(['aaa', 'bbb', 'cc', 'aaa']);
  for (const _ of [1, 2]) await expect(get('bad')).rejects.toThrow('bad');
  expect(loads.slice(4)).toEqual(['bad', 'bad']);
  const short = cached(load, 0);
  for (const _ of [1, 2]) await short('d');
  expect(loads.slice(6)).toEqual(['d', 'd']);
});
