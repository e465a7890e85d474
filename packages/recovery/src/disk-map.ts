import { DatabaseSync } from 'node:sqlite';

/**
 * A map that needs little memory, however many entries it has: they are in a temporary database of SQLite. Its file has
 * no name, so that it ends with the process. SQLITE_TMPDIR or TMPDIR say where it is; else it is in /var/tmp or /tmp.
 * @example
 * using times = new DiskMap<number>();
 * times.set('gate', 9);
 * times.get('gate'); // => 9
 */
export class DiskMap<Value> implements Disposable {
  readonly #database = new DatabaseSync('');
  readonly #get;
  readonly #set;

  constructor() {
    // Nothing is ever rolled back, and the one transaction is never committed.
    this.#database.exec(`PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
      CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID; BEGIN`);
    this.#get = this.#database.prepare('SELECT value FROM entries WHERE key = ?');
    this.#set = this.#database.prepare('INSERT OR REPLACE INTO entries VALUES (?, ?)');
  }

  get(key: string): Value | undefined {
    const found = this.#get.get(key);
    return found && JSON.parse(String(found.value));
  }

  /** @param value it is kept as JSON */
  set(key: string, value: Value): void {
    this.#set.run(key, JSON.stringify(value));
  }

  /** The entries in the order of their keys' UTF-8. Nothing may be set meanwhile. */
  *[Symbol.iterator](): Generator<[string, Value]> {
    for (const { key, value } of this.#database.prepare('SELECT * FROM entries ORDER BY key').iterate())
      yield [String(key), JSON.parse(String(value))];
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
