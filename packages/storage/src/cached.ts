/** Keeps the result of `load` for each name for `ttlMs`, milliseconds. Calls during a load wait for the same result. */
export function cached<Value>(
  load: (name: string) => Promise<Value>,
  ttlMs: number,
  maxEntries = 4_096,
): (name: string) => Promise<Value> {
  const entries = new Map<string, { value: Promise<Value>; until: number }>();
  return (name) => {
    const now = performance.now();
    const entry = entries.get(name);
    if (entry && entry.until > now) return entry.value;
    const value = load(name);
    entries.delete(name);
    entries.set(name, { value, until: now + ttlMs });
    value.catch(() => entries.delete(name));
    if (entries.size > maxEntries) entries.delete(entries.keys().next().value ?? '');
    return value;
  };
}
