/**
 * Keeps the result of `load` for each name for `ttlMs`, milliseconds. Calls during a load wait for the same result.
 * @param limit largest sum of weights. Beyond it the oldest results are dropped.
 * @param weightOf weight of a result. Without it, each weighs one.
 */
export function cached<Value, Name = string>(
  load: (name: Name) => Promise<Value>,
  ttlMs: number,
  limit = 4_096,
  weightOf: (value: Value) => number = () => 1,
): (name: Name) => Promise<Value> {
  /** In the order of their loads. */
  const entries = new Map<Name, { value: Promise<Value>; until: number; weight: number }>();
  let held = 0;
  const forget = (name: Name) => {
    held -= entries.get(name)?.weight ?? 0;
    entries.delete(name);
  };
  return (name) => {
    const now = performance.now();
    for (const [old, { until }] of entries) {
      if (until > now) break;
      forget(old);
    }
    const known = entries.get(name);
    if (known) return known.value;
    const entry = { value: load(name), until: now + ttlMs, weight: 0 };
    entries.set(name, entry);
    const isKept = () => entries.get(name) === entry;
    entry.value.then(
      (value) => {
        if (!isKept()) return;
        entry.weight = weightOf(value);
        held += entry.weight;
        for (const old of entries.keys()) if (held > limit) forget(old);
      },
      () => isKept() && forget(name),
    );
    return entry.value;
  };
}
