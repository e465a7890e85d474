import type { Random } from '../../support/random.ts';
import type { Target } from '../target.ts';

/** One attack on the running pipeline. */
export interface Attack {
  name: string;
  /** Attacks, and waits for the expected result, if there is one. @throws Error if the result does not come */
  run(target: Target): Promise<void>;
}

/** The attacks of one kind of attacker. To add a kind, add a file here and a line in `index.ts`. */
export interface Part {
  name: string;
  /**
   * @param random seeded, so that a seed always gives the same attacks
   * @param mutations number of damaged versions of a valid input
   */
  attacks(random: Random, mutations: number): Attack[];
}
