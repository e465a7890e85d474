import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fairShares } from './fair-share.ts';

const claims = (...demands: number[]) => demands.map((demand) => ({ demand, priority: 0 }));

test.each([
  ['equally, when all demand the same', 12, claims(10, 10, 10), [4, 4, 4]],
  ['the rest of a low demand goes to the others', 12, claims(10, 2, 10), [5, 2, 5]],
  ['each keeps its minimum, although the total is lower', 1, claims(10, 10, 0.5), [1, 1, 0.5]],
  [
    'a higher priority gets its demand, and the others their minimum',
    12,
    [
      { demand: 10, priority: 0 },
      { demand: 10, priority: 5 },
      { demand: 10, priority: 0 },
    ],
    [1, 10, 1],
  ],
  [
    'equally within a priority whose demand exceeds the total',
    14,
    [
      { demand: 10, priority: 1 },
      { demand: 10, priority: 0 },
      { demand: 4, priority: 1 },
    ],
    [9, 1, 4],
  ],
] as const)('frames are shared: %s', (_name, total, given, shares) => {
  expect(fairShares(total, given, 1)).toEqual(shares);
});

test('shares add up to the total, and none is above its demand or below its minimum', () => {
  const claim = fc.record({ demand: fc.double({ min: 0, max: 60, noNaN: true }), priority: fc.nat(3) });
  fc.assert(
    fc.property(
      fc.array(claim, { minLength: 1, maxLength: 20 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (given, part) => {
        const total = part * given.reduce((sum, { demand }) => sum + demand, 0);
        const shares = fairShares(total, given, 1);
        const floors = given.map(({ demand }) => Math.min(demand, 1));
        for (const [index, share] of shares.entries()) {
          expect(share).toBeLessThanOrEqual((given[index]?.demand ?? 0) + 1e-9);
          expect(share).toBeGreaterThanOrEqual((floors[index] ?? 0) - 1e-9);
        }
        const all = shares.reduce((sum, share) => sum + share, 0);
        expect(all).toBeCloseTo(
          Math.max(
            total,
            floors.reduce((sum, one) => sum + one, 0),
          ),
          6,
        );
      },
    ),
  );
});
