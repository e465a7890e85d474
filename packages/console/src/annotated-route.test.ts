import { expect, test } from 'vitest';
import { whyMissing } from './annotated-route.ts';

const DAY = Date.UTC(2026, 10, 25);
const FRAMES = { STORE: 'frames', STORE_CLASSES: undefined } as const;

test.each([
  ['older than all stored pictures', DAY - 1, DAY, FRAMES, /expired: .* 2026-11-25T00:00:00/],
  ['missing among stored pictures', DAY + 1, DAY, FRAMES, /expired or was deleted/],
  ['of a stream without pictures', DAY, undefined, FRAMES, /expired or was deleted/],
  [
    'not stored with STORE=events, for any class',
    DAY,
    undefined,
    { ...FRAMES, STORE: 'events' },
    /not kept: .* around events and detections of any class/,
  ],
  [
    'not stored with STORE=events, for some classes',
    DAY,
    DAY,
    { STORE: 'events', STORE_CLASSES: ['cat', 'car'] },
    /events and detections of cat, car\.$/,
  ],
  [
    'not stored with STORE=events, for events only',
    DAY,
    DAY,
    { STORE: 'events', STORE_CLASSES: ['none'] },
    /around events\.$/,
  ],
] as const)('whyMissing gives the reason of a picture that is %s', (_what, at, oldest, keeping, reason) => {
  expect(whyMissing(at, oldest, keeping as never)).toMatch(reason);
});
