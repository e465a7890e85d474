/** A queue that serves its clients in turn, so that a client with many items can't starve others. */
export class FairQueue<Item> {
  /** Items by client, in the order of turns. A client without items has no entry. */
  readonly #items = new Map<string, Item[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  *[Symbol.iterator](): Generator<Item> {
    for (const items of this.#items.values()) yield* items;
  }

  push(client: string, item: Item): void {
    const items = this.#items.get(client);
    if (items) items.push(item);
    else this.#items.set(client, [item]);
    this.#size++;
  }

  /** @returns the next item, `undefined` when there is none */
  shift(): Item | undefined {
    const [next] = this.#items;
    if (!next) return undefined;
    const [client, items] = next;
    const item = items.shift();
    this.#items.delete(client);
    if (items.length > 0) this.#items.set(client, items);
    this.#size--;
    return item;
  }

  /** Removes the client's matching items. @returns the removed items */
  remove(client: string, matches: (item: Item) => boolean): Item[] {
    const items = this.#items.get(client) ?? [];
    const remaining = items.filter((item) => !matches(item));
    if (remaining.length > 0) this.#items.set(client, remaining);
    else this.#items.delete(client);
    this.#size -= items.length - remaining.length;
    return items.filter(matches);
  }
}
