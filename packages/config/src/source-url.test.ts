import { expect, test } from 'vitest';
import { urlBelow } from './source-url.ts';

test.each([
  ['http://model:8000', 'http://model:8000/health'],
  ['http://model:8000/', 'http://model:8000/health'],
  ['http://gateway/inference', 'http://gateway/inference/health'],
  ['http://gateway/inference/', 'http://gateway/inference/health'],
])('urlBelow %s keeps the path of the base', (base, address) => {
  expect(urlBelow(base, 'health').href).toBe(address);
});
