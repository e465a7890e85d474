import type { ByteRange } from '@video-pipeline/storage';
import { readBloomFilter, sbbfContains } from 'hyparquet/src/bloom.js';
import { xxhash64 } from 'hyparquet/src/xxhash.js';

/** Rows of a Parquet file that can be read without the others: a part of each column. */
export interface RowGroup {
  /** Its place in the file, from 0. */
  index: number;
  rows: number;
  /** Where its part of each column lies in the file. */
  chunks: ReadonlyMap<string, readonly ByteRange[]>;
  /** Least and largest value of a column, as Parquet has them; `undefined` where the file does not say. */
  bounds: ReadonlyMap<string, readonly [Buffer, Buffer]>;
  /** Where the filters are that tell which values a column can't have. */
  filters: ReadonlyMap<string, ByteRange>;
  /** How much nearer to the begin its chunks lie in a file of this row group alone, bytes. */
  shift: number;
  /** The end of that file. */
  footer(): Buffer;
}

const MAGIC = 'PAR1';
/** Length of the footer and the magic, which come after it. */
export const TRAILER_BYTES = 8;

/** @param tail last bytes of a file @returns bytes of its footer. @throws Error when it is no Parquet file */
export function footerBytes(tail: Buffer): number {
  if (tail.length < TRAILER_BYTES || tail.toString('latin1', tail.length - MAGIC.length) !== MAGIC)
    throw new Error('no Parquet file');
  return tail.readUInt32LE(tail.length - TRAILER_BYTES);
}

/** Types of Thrift's compact protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md */
const TYPES = { true: 1, false: 2, byte: 3, double: 7, binary: 8, list: 9, set: 10, struct: 12 };

/** Head of a list of one struct. */
const ONE_STRUCT = Buffer.of((1 << 4) | TYPES.struct);

/** A place in Thrift's compact protocol. */
class Thrift {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new RangeError('the footer is cut off');
    return byte;
  }

  varint(): number {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  integer(): number {
    const value = this.varint();
    return value % 2 ? -(value + 1) / 2 : value / 2;
  }

  binary(): Buffer {
    const length = this.varint();
    if (this.at + length > this.bytes.length) throw new RangeError('the footer is cut off');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** @returns how many elements follow, and their type */
  list(): [count: number, type: number] {
    const head = this.byte();
    return [head >> 4 === 15 ? this.varint() : head >> 4, head & 15];
  }

  /** Calls `read` at the value of each field. A value that it does not read is skipped. @param from where the field begins */
  fields(read: (id: number, type: number, from: number) => void): void {
    for (let id = 0; ; ) {
      const from = this.at;
      const head = this.byte();
      if (head === 0) return;
      id = head >> 4 ? id + (head >> 4) : this.integer();
      const begin = this.at;
      read(id, head & 15, from);
      if (this.at === begin) this.#skip(head & 15);
    }
  }

  #skip(type: number): void {
    if (type === TYPES.true || type === TYPES.false) return;
    if (type === TYPES.byte) this.at += 1;
    else if (type === TYPES.double) this.at += 8;
    else if (type === TYPES.binary) this.binary();
    else if (type === TYPES.struct) this.fields(() => {});
    else if (type === TYPES.list || type === TYPES.set) {
      const [count, of] = this.list();
      // In a list a boolean is a byte.
      for (let i = 0; i < count; i++) this.#skip(of <= TYPES.false ? TYPES.byte : of);
    } else if (type < TYPES.double) this.varint();
    else throw new Error(`type ${type} of Thrift`);
  }
}

/** An integer as a Thrift value. */
function integer(value: number): Buffer {
  const bytes = [];
  let rest = value * 2;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/**
 * Fields of the footer: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 */
const FILE = { rows: 3, groups: 4 };
const GROUP = { columns: 1, rows: 3, offset: 5 };
const CHUNK = { offset: 2, column: 3 };
const COLUMN = { path: 3, bytes: 7, data: 9, dictionary: 11, bounds: 12, filter: 14, filterBytes: 15 };
const BOUNDS = { most: 5, least: 6 };

/** A part of the footer, as it is but for what is replaced. */
class Copy {
  readonly #bytes: Buffer;
  readonly #pieces: Buffer[] = [];
  #done: number;

  constructor(bytes: Buffer, from: number) {
    this.#bytes = bytes;
    this.#done = from;
  }

  replace(from: number, to: number, by: Buffer): void {
    this.#pieces.push(this.#bytes.subarray(this.#done, from), by);
    this.#done = to;
  }

  end(to: number): Buffer {
    return Buffer.concat([...this.#pieces, this.#bytes.subarray(this.#done, to)]);
  }
}

/**
 * @param footer without what comes after it
 * @throws Error when it is damaged
 */
export function rowGroupsOf(footer: Buffer): RowGroup[] {
  const thrift = new Thrift(footer);
  const groups: RowGroup[] = [];
  let [rows, list] = [
    [0, 0],
    [0, 0],
  ] as [number, number][];
  /** The footer of a file of one row group, which lies here. */
  const footerOf = (at: number, shift: number, count: number) => {
    const own = new Copy(footer, 0);
    own.replace(...(rows as [number, number]), integer(count));
    const copied = readGroup(new Thrift(footer, at), shift, new Copy(footer, at)).text;
    own.replace(...(list as [number, number]), Buffer.concat([ONE_STRUCT, copied]));
    const body = own.end(footer.length);
    // The magic twice: the length stands over the first.
    const trailer = Buffer.alloc(TRAILER_BYTES, MAGIC);
    trailer.writeUInt32LE(body.length);
    return Buffer.concat([body, trailer]);
  };
  thrift.fields((id) => {
    const from = thrift.at;
    if (id === FILE.rows) {
      thrift.integer();
      rows = [from, thrift.at];
    } else if (id === FILE.groups) {
      let end = MAGIC.length;
      for (let [count] = thrift.list(); count > 0; count--) {
        const [at, shift] = [thrift.at, end - MAGIC.length];
        const { group } = readGroup(thrift, shift);
        groups.push({ ...group, index: groups.length, shift, footer: () => footerOf(at, shift, group.rows) });
        end = Math.max(end, endOf(group));
      }
      list = [from, thrift.at];
    }
  });
  return groups;
}

/** Where the last of its chunks ends. */
export function endOf({ chunks }: Pick<RowGroup, 'chunks'>): number {
  return Math.max(...[...chunks.values()].flat().map(({ offset, length }) => offset + length));
}

/** @returns also its part of the footer, changed for a file where it lies `shift` bytes nearer to the begin, if there is a `copy` */
function readGroup(thrift: Thrift, shift: number, copy?: Copy) {
  const chunks = new Map<string, ByteRange[]>();
  const bounds = new Map<string, readonly [Buffer, Buffer]>();
  const filters = new Map<string, ByteRange>();
  let rows = 0;
  const shifted = () => {
    const from = thrift.at;
    const offset = thrift.integer();
    copy?.replace(from, thrift.at, integer(Math.max(0, offset - shift)));
    return offset;
  };
  const column = () => {
    let [name, begin, length] = ['', Number.POSITIVE_INFINITY, 0];
    const filter = { offset: 0, length: 0 };
    /** The filters stay behind. Their fields begin here, after the field `last`. */
    let [cut, last] = [-1, 0];
    thrift.fields((id, type, from) => {
      if (id === COLUMN.path) [name = ''] = texts(thrift);
      else if (id === COLUMN.bytes) length = thrift.integer();
      else if (id === COLUMN.data || id === COLUMN.dictionary) begin = Math.min(begin, shifted());
      else if (id === COLUMN.bounds) {
        const [least, most] = boundsAt(thrift);
        if (least && most) bounds.set(name, [least, most]);
      }
      if (id === COLUMN.filter) filter.offset = thrift.integer();
      else if (id === COLUMN.filterBytes) filter.length = thrift.integer();
      else {
        // A field is numbered by its distance from the one before.
        if (cut >= 0) copy?.replace(cut, from + 1, Buffer.of(((id - last) << 4) | type));
        [cut, last] = [-1, id];
        return;
      }
      if (cut < 0) cut = from;
    });
    if (cut >= 0) copy?.replace(cut, thrift.at - 1, Buffer.alloc(0));
    chunks.set(name, [...(chunks.get(name) ?? []), { offset: begin, length }]);
    if (filter.length > 0) filters.set(name, filter);
  };
  thrift.fields((id) => {
    if (id === GROUP.rows) rows = thrift.integer();
    else if (id === GROUP.offset) shifted();
    else if (id === GROUP.columns) {
      const [count] = thrift.list();
      for (let i = 0; i < count; i++)
        thrift.fields((field) => {
          if (field === CHUNK.offset) shifted();
          else if (field === CHUNK.column) column();
        });
    }
  });
  return { group: { rows, chunks, bounds, filters }, text: copy?.end(thrift.at) ?? Buffer.alloc(0) };
}

function texts(thrift: Thrift): string[] {
  const [count] = thrift.list();
  return Array.from({ length: count }, () => thrift.binary().toString());
}

function boundsAt(thrift: Thrift): [least: Buffer | undefined, most: Buffer | undefined] {
  let least: Buffer | undefined;
  let most: Buffer | undefined;
  thrift.fields((id) => {
    if (id === BOUNDS.least) least = thrift.binary();
    else if (id === BOUNDS.most) most = thrift.binary();
  });
  return [least, most];
}

/** @param filter a column's filter, from its begin @returns whether a row may have one of these values */
export function mayHold(filter: Buffer, values: readonly string[]): boolean {
  const view = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
  const read = readBloomFilter({ view, offset: 0 });
  return !read || values.some((value) => sbbfContains(read.blocks, xxhash64(Buffer.from(value))));
}

/** Name of the list of classes that a file of detections has in its footer. */
export const CLASS_LIST = 'video-pipeline.classes';
/** A list that is longer is left empty. */
const MOST_CLASSES_BYTES = 8 * 1024;

/** @returns the list as text of letters and digits, which may be part of a statement */
export function classesText(names: readonly string[]): string {
  const text = Buffer.from(JSON.stringify(names)).toString('base64url');
  return text.length <= MOST_CLASSES_BYTES ? text : '';
}

/** @param tail the last bytes of a file @returns classes that its rows have; `undefined` where the file does not say */
export function classesOf(tail: Buffer): ReadonlySet<string> | undefined {
  // Names of others come before it, and the list itself is encoded. So the last place is the right one.
  const at = tail.lastIndexOf(CLASS_LIST);
  if (at < 0) return undefined;
  const text = new Thrift(tail, at + CLASS_LIST.length + 1).binary().toString();
  return text ? new Set(JSON.parse(Buffer.from(text, 'base64url').toString())) : undefined;
}
