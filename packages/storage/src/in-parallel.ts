/**
 * Works on the items side by side, at most `limit` at a time, the lightest first.
 * @param weightOf left out, all weigh the same: items are begun in order
 * @returns the results, in the items' order
 * @throws the first error, once the work in progress has ended; nothing is begun after it
 * @example
 * await inParallel([1, 2, 3], 2, async (item) => 10 * item); // => [10, 20, 30]
 */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<Result>,
  weightOf: (item: Item) => number = () => 0,
): Promise<Result[]> {
  const results: Result[] = new Array(items.length);
  const rest = [...items.entries()].sort(([, one], [, other]) => weightOf(one) - weightOf(other)).values();
  let failed = false;
  const worker = async () => {
    for (const [index, item] of rest) {
      if (failed) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker));
  const broken = ended.find((one) => one.status === 'rejected');
  if (broken) throw broken.reason;
  return results;
}

/** @returns a function that begins each work once the work before it has ended, however that ended */
export function inTurn() {
  let last: Promise<unknown> = Promise.resolve();
  return <Result>(work: () => Promise<Result>): Promise<Result> => {
    const done = last.then(work);
    last = done.catch(() => {});
    return done;
  };
}
