/** Remembers what `load` gave for each name, for `ttlMs`; who asks meanwhile waits for the same answer. */
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

/** Texts by key and ETag, the least recently used let go once they have more than `maxCharacters` together. */
export class TextCache {
  readonly #entries = new Map<string, { etag: string; text: string }>();
  readonly #maxCharacters: number;
  #characters = 0;

  constructor(maxCharacters: number) {
    this.#maxCharacters = maxCharacters;
  }

  get(key: string, etag: string): string | undefined {
    const entry = this.#entries.get(key);
    if (entry?.etag !== etag) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.text;
  }

  set(key: string, etag: string, text: string): void {
    this.#remove(key);
    this.#entries.set(key, { etag, text });
    this.#characters += text.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#characters <= this.#maxCharacters) break;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#characters -= this.#entries.get(key)?.text.length ?? 0;
    this.#entries.delete(key);
  }
}
