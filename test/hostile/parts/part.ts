import type { Random } from '../../support/random.ts';
import type { Target } from '../target.ts';

/** Something bad that is done to the running pipeline. */
export interface Attack {
  name: string;
  /** Does it. @returns once it is done and, where it says what must come of it, that has come. @throws when it has not */
  run(target: Target): Promise<void>;
}

/** The attacks of one kind of stranger. To add a kind: a file here, and a line in `index.ts`. */
export interface Part {
  name: string;
  /**
   * @param random seeded: the same attacks for the same seed
   * @param mutations how many damaged versions of something good
   */
  attacks(random: Random, mutations: number): Attack[];
}
