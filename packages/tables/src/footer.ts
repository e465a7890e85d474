import type { ByteRange } from '@video-pipeline/storage';
import { readBloomFilter, sbbfContains } from 'hyparquet/src/bloom.js';
import { deserializeTCompactProtocol, readVarInt, readZigZagBigInt } from 'hyparquet/src/thrift.js';
import { xxhash64 } from 'hyparquet/src/xxhash.js';

/** Rows of a Parquet file that can be read without the others: a part of each column. */
export interface RowGroup {
  /** Its place in the file, from 0. */
  index: number;
  rows: number;
  /** Positions of its part of each column in the file. */
  chunks: ReadonlyMap<string, readonly ByteRange[]>;
  /** Smallest and largest value of a column, as Parquet has them; `undefined` where the file does not say. */
  bounds: ReadonlyMap<string, readonly [Buffer, Buffer]>;
  /** Where the Bloom filters are, which show that a column does not have a value. */
  filters: ReadonlyMap<string, ByteRange>;
  /** The footer of a file with this row group alone, at the same offset as in the whole file. */
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
const TYPES = { true: 1, false: 2, integer: 5, long: 6, binary: 8, list: 9, struct: 12 };
/** A value as hyparquet reads it. */
type Value = boolean | number | bigint | Uint8Array | Value[] | Struct;
interface Struct {
  [field: `field_${number}`]: Value | undefined;
}

const readerOf = (bytes: Buffer, offset = 0) => ({
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  offset,
});

/**
 * Fields: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 * @param footer without the trailer @param offset of the footer in the file
 * @throws Error when it is damaged
 */
export function rowGroupsOf(footer: Buffer, offset: number): RowGroup[] {
  const reader = readerOf(footer);
  /** Each footer begins with its version, schema, number of rows and row groups, all of which are required. */
  const expectNext = (type: number) => {
    if (footer[reader.offset++] !== ((1 << 4) | type)) throw new Error('no footer of Parquet');
  };
  const readCount = () => {
    const count = footer.readUInt8(reader.offset++) >> 4;
    return count === 15 ? readVarInt(reader) : count;
  };
  expectNext(TYPES.integer);
  readVarInt(reader);
  expectNext(TYPES.list);
  for (let remaining = readCount(); remaining > 0; remaining--) deserializeTCompactProtocol(reader);
  const head = footer.subarray(0, reader.offset);
  expectNext(TYPES.long);
  readZigZagBigInt(reader);
  expectNext(TYPES.list);
  const groups: RowGroup[] = [];
  for (let remaining = readCount(); remaining > 0; remaining--) {
    const at = reader.offset;
    const group = groupOf(deserializeTCompactProtocol(reader), offset);
    groups.push({ ...group, index: groups.length, footer: () => footerOf(at) });
  }
  const rest = footer.subarray(reader.offset);
  const footerOf = (at: number) => {
    const group = deserializeTCompactProtocol(readerOf(footer, at));
    // That file has no filters.
    for (const { field_3: column } of group.field_1)
      Object.assign(column, { field_14: undefined, field_15: undefined });
    const own = Buffer.from(fieldsOf({ field_3: group.field_3, field_4: [group] }, 2));
    // The magic twice. The length overwrites the first one.
    const trailer = Buffer.alloc(TRAILER_BYTES, MAGIC);
    trailer.writeUInt32LE(head.length + own.length + rest.length);
    return Buffer.concat([head, own, rest, trailer]);
  };
  return groups;
}

/** @param end where the chunks and filters of all row groups end */
function groupOf(
  { field_1: columns, field_3: rows }: ReturnType<typeof deserializeTCompactProtocol>,
  end: number,
) {
  const chunks = new Map<string, ByteRange[]>();
  const bounds = new Map<string, readonly [Buffer, Buffer]>();
  const filters = new Map<string, ByteRange>();
  for (const { field_3: column } of columns) {
    const { field_3: path, field_7: length, field_9: data, field_11: dictionary, field_12: of } = column;
    const { field_14: filter, field_15: filterLength } = column;
    const name = Buffer.from(path[0]).toString();
    const chunk = { offset: Number(dictionary > 0 ? dictionary : data), length: Number(length) };
    if (!(chunk.offset > 0 && chunk.length >= 0 && chunk.offset + chunk.length <= end))
      throw new RangeError('a chunk is cut off');
    chunks.set(name, [...(chunks.get(name) ?? []), chunk]);
    const { field_5: max, field_6: min } = of ?? {};
    if (min && max) bounds.set(name, [Buffer.from(min), Buffer.from(max)]);
    // Some writers don't say how long a filter is; it begins with its length.
    if (filter > 0 && filter < end)
      filters.set(name, { offset: Number(filter), length: filterLength || end - Number(filter) });
  }
  return { rows: Number(rows), chunks, bounds, filters };
}

/** Fields of a struct in Thrift's compact protocol. @param before number of the field before the first */
function fieldsOf(struct: Struct, before = 0): number[] {
  let last = before;
  return Object.entries(struct).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const id = Number(name.slice('field_'.length));
    const [type, bytes] = encoded(value);
    // A field is numbered by its distance from the one before, if that is small.
    const head = id - last < 16 ? [((id - last) << 4) | type] : [type, ...varint(2 * id)];
    last = id;
    return [...head, ...bytes];
  });
}

function encoded(value: Value): [type: number, bytes: number[]] {
  // The type of a boolean is its value.
  if (typeof value === 'boolean') return [value ? TYPES.true : TYPES.false, []];
  if (typeof value === 'number' || typeof value === 'bigint') {
    const whole = BigInt(value);
    const type = typeof value === 'number' ? TYPES.integer : TYPES.long;
    return [type, varint(whole < 0n ? -2n * whole - 1n : 2n * whole)];
  }
  if (value instanceof Uint8Array) return [TYPES.binary, [...varint(value.length), ...value]];
  if (!Array.isArray(value)) return [TYPES.struct, [...fieldsOf(value), 0]];
  const all = value.map(encoded);
  const head = 0xf0 | (all[0]?.[0] ?? TYPES.struct);
  return [TYPES.list, [head, ...varint(all.length), ...all.flatMap(([, bytes]) => bytes)]];
}

function varint(value: number | bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return [...bytes, Number(rest)];
}

/** @param filter a column's filter, from its start @returns whether a row may have one of these values */
export function mayContain(filter: Buffer, values: readonly string[]): boolean {
  const read = readBloomFilter(readerOf(filter));
  return !read || values.some((value) => sbbfContains(read.blocks, xxhash64(Buffer.from(value))));
}

/** Name of the list of classes that a file of detections has in its footer. */
export const CLASS_LIST = 'video-pipeline.classes';
/** A list that is longer is left empty. */
const MAX_CLASSES_BYTES = 8 * 1024;

/** @returns the list as text of letters and digits, which may be part of a statement */
export function classesText(names: readonly string[]): string {
  const text = Buffer.from(JSON.stringify(names)).toString('base64url');
  return text.length <= MAX_CLASSES_BYTES ? text : '';
}

/** @param tail the last bytes of a file @returns classes that its rows have; `undefined` where the file does not say */
export function classesOf(tail: Buffer): ReadonlySet<string> | undefined {
  // Other names come before it, and the list itself is encoded. So the last occurrence is the right one.
  const at = tail.lastIndexOf(CLASS_LIST);
  if (at < 0) return undefined;
  const reader = readerOf(tail, at + CLASS_LIST.length + 1);
  const length = readVarInt(reader);
  const text = tail.toString('latin1', reader.offset, reader.offset + length);
  return text ? new Set(JSON.parse(Buffer.from(text, 'base64url').toString())) : undefined;
}
