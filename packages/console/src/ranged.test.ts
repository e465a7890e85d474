import { expect, test } from 'vitest';
import { ranged } from './ranged.ts';

const reply = { type: 'video/mp4', body: Buffer.from('0123456789'), headers: { etag: '"x"' } };

test.each([
  ['bytes=0-', 206, '0123456789', 'bytes 0-9/10'],
  ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
  ['bytes=7-99', 206, '789', 'bytes 7-9/10'],
  ['bytes=-3', 206, '789', 'bytes 7-9/10'],
  ['bytes=-99', 206, '0123456789', 'bytes 0-9/10'],
  ['bytes=10-', 416, '', 'bytes */10'],
  ['bytes=4-2', 416, '', 'bytes */10'],
])('%s is answered with %i', (range, status, body, contentRange) => {
  const answer = ranged(reply, range);
  expect([answer.status, String(answer.body)]).toEqual([status, body]);
  expect(answer.headers).toEqual({ etag: '"x"', 'accept-ranges': 'bytes', 'content-range': contentRange });
});

test.each([undefined, 'bytes=-', 'bytes=0-1,3-4', 'lines=1-2'])('%s gives all of it', (range) => {
  expect(ranged(reply, range)).toEqual({ ...reply, headers: { etag: '"x"', 'accept-ranges': 'bytes' } });
});
