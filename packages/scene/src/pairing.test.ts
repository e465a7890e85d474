import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pairAtLeastCost } from './pairing.ts';

const LIMIT = 0.8;
/** The least sum, found by trying all pairings. Staying alone costs the limit. */
function leastSum(costs: number[][], row = 0, taken = 0): number {
  const line = costs[row];
  if (!line) return 0;
  const apart = LIMIT + leastSum(costs, row + 1, taken);
  return line.reduce((least, cost, column) => {
    if (cost > LIMIT || taken & (1 << column)) return least;
    return Math.min(least, cost + leastSum(costs, row + 1, taken | (1 << column)));
  }, apart);
}

const matrix = fc
  .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 6 }))
  .chain(([rows, columns]) => {
    const cost = fc.oneof(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom(0, 0.25, 0.5, LIMIT, 1),
    );
    return fc.array(fc.array(cost, { minLength: columns, maxLength: columns }), {
      minLength: rows,
      maxLength: rows,
    });
  });

test('pairs have the lowest total cost, use each row and column once, and cost at most the limit', () => {
  fc.assert(
    fc.property(matrix, (costs) => {
      const candidates = costs.flatMap((line, row) => line.map((cost, column) => ({ row, column, cost })));
      const costOf = (pair: { row: number; column: number }) => costs[pair.row]?.[pair.column] ?? Infinity;
      const pairs = pairAtLeastCost(candidates, costOf, LIMIT).map((pair) => ({
        ...pair,
        cost: costOf(pair),
      }));
      expect(new Set(pairs.map(({ row }) => row)).size).toBe(pairs.length);
      expect(new Set(pairs.map(({ column }) => column)).size).toBe(pairs.length);
      expect(pairs.every(({ cost }) => cost <= LIMIT)).toBe(true);
      const sum = pairs.reduce((total, { cost }) => total + cost, (costs.length - pairs.length) * LIMIT);
      expect(sum).toBeCloseTo(leastSum(costs), 2);
    }),
    { numRuns: 500 },
  );
});
