import { expect, test } from 'vitest';
import { createDecodingLanes } from './decoding-lanes.ts';

const LARGE = 200_000_000;
const SMALL = 1_000_000;

/** Lanes whose items last until they are finished by name. */
function start(places: number) {
  const begun: string[] = [];
  const finish = new Map<string, () => void>();
  const lanes = createDecodingLanes<string>(
    places,
    (item) =>
      new Promise((resolve) => {
        begun.push(item);
        finish.set(item, resolve);
      }),
  );
  return { lanes, begun, finish };
}

test('large pictures are decoded one at a time, and later small pictures before them', () => {
  const { lanes, begun } = start(4);
  for (const item of ['l1', 'l2', 'l3']) lanes.push('a', item, LARGE);
  for (const item of ['s1', 's2']) lanes.push('b', item, SMALL);
  expect(begun).toEqual(['l1', 's1', 's2']);
  expect(lanes.waiting).toBe(2);
});

test('idle() resolves once the last picture is decoded', async () => {
  const { lanes, finish } = start(2);
  await lanes.idle();
  lanes.push('a', 'l', LARGE);
  lanes.push('a', 's', SMALL);
  let isIdle = false;
  const idle = lanes.idle().then(() => {
    isIdle = true;
  });
  finish.get('s')?.();
  await new Promise((resolve) => setImmediate(resolve));
  expect(isIdle).toBe(false);
  finish.get('l')?.();
  await idle;
});

test('all pictures of one client are removed from both queues, and those of other clients stay', () => {
  const { lanes } = start(1);
  for (const item of ['a1', 'a2', 'a3']) lanes.push('a', item, SMALL);
  for (const item of ['a4', 'a5']) lanes.push('a', item, LARGE);
  lanes.push('b', 'b1', SMALL);
  expect(lanes.remove('a', () => true).sort()).toEqual(['a2', 'a3', 'a5']);
  expect(lanes.waiting).toBe(1);
});
