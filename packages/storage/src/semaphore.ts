/**
 * Limits the total weight of the work that runs at the same time. Other work waits in its order. Work that is heavier
 * than the limit runs alone.
 */
export function semaphoreOf(limit: number) {
  const waiting: { weight: number; begin: () => void }[] = [];
  let weightInUse = 0;
  const admit = () => {
    for (let next = waiting[0]; next; next = waiting[0]) {
      if (weightInUse > 0 && weightInUse + next.weight > limit) return;
      waiting.shift();
      weightInUse += next.weight;
      next.begin();
    }
  };
  return async <Result>(weight: number, work: () => Promise<Result>): Promise<Result> => {
    await new Promise<void>((begin) => {
      waiting.push({ weight, begin });
      admit();
    });
    try {
      return await work();
    } finally {
      weightInUse -= weight;
      admit();
    }
  };
}
