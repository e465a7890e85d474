import { expect, test, vi } from 'vitest';
import type { LiveFrame, StreamStatus } from './api.ts';

// The page's modules read the address from which they were loaded.
vi.stubGlobal('document', { baseURI: 'http://localhost/' });
const { streamState } = await import('../page/live.ts');

const NOW = 1_700_000_000_000;
const frame = (age: number, arrivedAgo = 0) =>
  ({ captured_at: NOW - age, arrived_at: NOW - arrivedAgo }) as LiveFrame;

test.each([
  ['a current picture', frame(4_900), undefined, 'live'],
  ['a picture that arrived late', frame(5_100), undefined, 'late'],
  ['an old picture that arrived in time', frame(9_000, 6_000), undefined, 'late'],
  ['an old picture on the page, although a newer one arrived', frame(1_000), frame(7_000), 'late'],
  ['no picture for half a minute', frame(40_000, 31_000), undefined, 'silent'],
])('state with %s', (_name, newest, shown, state) => {
  expect(streamState(undefined, newest, NOW, shown).state).toBe(state);
});

test('the state of a thinned stream has that reason', () => {
  const status = { camera: { state: 'flowing', thinned: true } } as StreamStatus;
  expect(streamState(status, frame(1_000), NOW)).toMatchObject({
    state: 'live',
    why: expect.stringContaining('thinned'),
  });
});
