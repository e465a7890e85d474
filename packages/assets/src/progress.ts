const EVERY_MS = 2_000;

/** Tells how far one download is that may consist of several files: a line at its start, and then every two seconds. */
export class Progress {
  readonly #what: string;
  readonly #note: (line: string) => void;
  #total: number;
  #bytes = 0;
  #toldAt = 0;

  /** @param total bytes; 0 until a server says it */
  constructor(what: string, note: (line: string) => void, total = 0) {
    this.#what = what;
    this.#note = note;
    this.#total = total;
  }

  begin(host: string, total = this.#total): void {
    this.#total ||= total;
    if (this.#toldAt > 0) return;
    this.#toldAt = Date.now();
    this.#note(`fetching ${this.#what} from ${host}${this.#total ? ` (${megabytes(this.#total)} MB)` : ''}`);
  }

  /** @param bytes that came; below zero when they have to come again */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#toldAt === 0 || Date.now() - this.#toldAt < EVERY_MS) return;
    this.#toldAt = Date.now();
    const of = this.#total ? ` of ${megabytes(this.#total)}` : '';
    this.#note(`fetching ${this.#what}: ${megabytes(this.#bytes)}${of} MB`);
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
