const MAX_CAMERAS = 1_000;

/** One camera more at each step, from `first`, until one does not hold, which is the last; a line of each on stderr. */
export async function climb<Step>(
  first: number,
  {
    measure,
    holds,
    line,
  }: {
    measure(cameras: number): Promise<Step>;
    holds(step: Step): boolean;
    line(step: Step): string;
  },
): Promise<Step[]> {
  const steps: Step[] = [];
  for (let cameras = first; cameras <= MAX_CAMERAS; cameras++) {
    const step = await measure(cameras);
    steps.push(step);
    process.stderr.write(`${line(step)}\n`);
    if (!holds(step)) break;
  }
  return steps;
}
