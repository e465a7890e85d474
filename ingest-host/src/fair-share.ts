import { sum } from './sum.ts';

/** What one stream asks for. */
export interface Claim {
  /** Frames a second that it has. */
  demand: number;
  /** Those of a higher one keep their frames for as long as it is enough to take from those below. */
  priority: number;
}

/**
 * Divides frames a second over streams: each has its floor, then the highest priority is served first, and within one
 * priority none has less so that another can have more (max-min fairness).
 * @param total frames a second, less than all ask for; the floors are given even where they are more
 * @param floor frames a second that each stream keeps; of a stream that has fewer, all
 * @returns frames a second, in the order of `claims`
 */
export function fairShares(total: number, claims: readonly Claim[], floor: number): number[] {
  const least = ({ demand }: Claim) => Math.min(demand, floor);
  const shares = claims.map(least);
  let spare = total - sum(shares);
  const priorities = [...new Set(claims.map(({ priority }) => priority))].sort((a, b) => b - a);
  for (const wanted of priorities) {
    const peers = [...claims.entries()].filter(([, { priority }]) => priority === wanted);
    let left = Math.max(0, spare) + sum(peers.map(([, claim]) => least(claim)));
    // From the most modest on: what one does not need is the others'.
    peers.sort(([, a], [, b]) => a.demand - b.demand);
    for (const [at, [index, { demand }]] of peers.entries()) {
      const share = Math.min(demand, left / (peers.length - at));
      shares[index] = share;
      left -= share;
    }
    spare = left;
  }
  return shares;
}
