import { sum } from './sum.ts';

/** Demand of one stream. */
export interface Claim {
  /** Frames a second of its source. */
  demand: number;
  /** Streams of a higher priority lose frames only after those of lower priorities are at their floor. */
  priority: number;
}

/**
 * Divides frames a second among streams. Each stream gets its floor. Then the highest priority is served first. Within
 * a priority the division is max-min fair.
 * @param total frames a second, less than the sum of all demands; the floors are given even if their sum is larger
 * @param floor frames a second that each stream keeps; a stream with a smaller demand keeps all
 * @returns frames a second, in the order of `claims`
 */
export function fairShares(total: number, claims: readonly Claim[], floor: number): number[] {
  const least = ({ demand }: Claim) => Math.min(demand, floor);
  const shares = claims.map(least);
  let spare = total - sum(shares);
  const priorities = [...new Set(claims.map(({ priority }) => priority))].sort((a, b) => b - a);
  for (const wanted of priorities) {
    const peers = [...claims.entries()].filter(([, { priority }]) => priority === wanted);
    let remaining = Math.max(0, spare) + sum(peers.map(([, claim]) => least(claim)));
    // The smallest demand comes first: what a stream does not need is left for the others.
    peers.sort(([, a], [, b]) => a.demand - b.demand);
    for (const [at, [index, { demand }]] of peers.entries()) {
      const share = Math.min(demand, remaining / (peers.length - at));
      shares[index] = share;
      remaining -= share;
    }
    spare = remaining;
  }
  return shares;
}
