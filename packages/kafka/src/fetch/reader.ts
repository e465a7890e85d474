/** Bytes are missing, or a length makes no sense. */
export class FormatError extends Error {
  override readonly name = 'FormatError';
}

/** Reads values of Kafka's protocol from a buffer of unknown origin. */
export class Reader {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.at;
  }

  int8(): number {
    return this.#bytes.readInt8(this.#advance(1));
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#advance(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#advance(4));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }

  /** Offsets, ids and times. A number of more than 53 bits is rounded. */
  int64(): number {
    return Number(this.#bytes.readBigInt64BE(this.#advance(8)));
  }

  /** @returns a part of the buffer itself */
  bytes(length: number): Buffer {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  string(): string {
    return this.bytes(this.int16()).toString();
  }

  /** Zigzag, seven bits a byte, the lowest first. */
  varint(): number {
    let value = 0;
    for (let bits = 0; bits < 70; bits += 7) {
      const byte = this.#bytes.readUInt8(this.#advance(1));
      value += (byte & 0x7f) * 2 ** bits;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    throw new FormatError('a number does not end');
  }

  /** Bytes after their length; null where that is -1. */
  varbytes(): Buffer | null {
    const length = this.varint();
    return length === -1 ? null : this.bytes(length);
  }

  #advance(length: number): number {
    if (length < 0 || length > this.remaining)
      throw new FormatError(`a field has ${length} bytes, but ${this.remaining} are left`);
    const start = this.at;
    this.at += length;
    return start;
  }
}
