const EVERY_MS = 2_000;

/** Reports the progress of a download of one or several files: a line at its start, and then every two seconds. */
export class Progress {
  readonly #what: string;
  readonly #note: (line: string) => void;
  #total: number;
  #bytes = 0;
  #notedAt = 0;

  /** @param total bytes; 0 if a server has to name it */
  constructor(what: string, note: (line: string) => void, total = 0) {
    this.#what = what;
    this.#note = note;
    this.#total = total;
  }

  begin(host: string, total = this.#total): void {
    this.#total ||= total;
    if (this.#notedAt > 0) return;
    this.#notedAt = performance.now();
    this.#note(`fetching ${this.#what} from ${host}${this.#total ? ` (${megabytes(this.#total)} MB)` : ''}`);
  }

  /** @param bytes that were received; negative when they have to be fetched again */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#notedAt === 0 || performance.now() - this.#notedAt < EVERY_MS) return;
    this.#notedAt = performance.now();
    const of = this.#total ? ` of ${megabytes(this.#total)}` : '';
    this.#note(`fetching ${this.#what}: ${megabytes(this.#bytes)}${of} MB`);
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
