const FIRST_BYTES = 64 * 1024;

/** The output of a decompressor. It grows as it is written, up to a limit. Bytes beyond the limit are left out. */
export class Output {
  readonly #limit: number;
  #buffer: Buffer;
  #length = 0;
  /** Whether something was left out. */
  isCut = false;

  /** @param limit most bytes */
  constructor(limit: number) {
    this.#limit = limit;
    this.#buffer = Buffer.allocUnsafe(Math.min(limit, FIRST_BYTES));
  }

  /** Bytes written. */
  get length(): number {
    return this.#length;
  }

  append(bytes: Uint8Array): void {
    const room = this.#roomFor(bytes.length);
    this.#buffer.set(room < bytes.length ? bytes.subarray(0, room) : bytes, this.#length);
    this.#length += room;
  }

  /**
   * Appends `length` bytes from `distance` bytes before the end. These may include bytes that this call writes.
   * @param start the first position that `distance` may refer to
   * @throws RangeError where `distance` refers to bytes before `start`
   */
  repeat(distance: number, length: number, start = 0): void {
    if (distance < 1 || distance > this.#length - start)
      throw new RangeError('refers to bytes before the first');
    const room = this.#roomFor(length);
    const end = this.#length + room;
    // Each turn doubles what can be copied at once.
    for (let from = this.#length - distance; this.#length < end; ) {
      const count = Math.min(this.#length - from, end - this.#length);
      this.#buffer.copyWithin(this.#length, from, from + count);
      this.#length += count;
    }
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** @returns how much of `wanted` may still be written; there is memory for that */
  #roomFor(wanted: number): number {
    const room = Math.min(wanted, this.#limit - this.#length);
    if (room < wanted) this.isCut = true;
    if (this.#length + room > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(
        Math.min(this.#limit, Math.max(2 * this.#buffer.length, this.#length + room)),
      );
      larger.set(this.bytes());
      this.#buffer = larger;
    }
    return room;
  }
}
