import { expect, test } from 'vitest';
import { ranged } from './ranged.ts';

const whole = Buffer.from('0123456789');

test.each([
  ['bytes=0-', 206, '0123456789', 'bytes 0-9/10'],
  ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
  ['bytes=7-99', 206, '789', 'bytes 7-9/10'],
  ['bytes=-3', 206, '789', 'bytes 7-9/10'],
  ['bytes=-99', 206, '0123456789', 'bytes 0-9/10'],
  ['bytes=10-', 416, '', 'bytes */10'],
  ['bytes=4-2', 416, '', 'bytes */10'],
])('Range %s is answered with %i', (range, status, body, contentRange) => {
  const answer = ranged(whole, range);
  expect([answer.status, String(answer.body)]).toEqual([status, body]);
  expect(answer.headers).toEqual({ 'accept-ranges': 'bytes', 'content-range': contentRange });
});

test.each([undefined, 'bytes=-', 'bytes=0-1,3-4', 'lines=1-2'])('Range %s gets the whole body', (range) => {
  expect(ranged(whole, range)).toEqual({ status: 200, body: whole, headers: { 'accept-ranges': 'bytes' } });
});
