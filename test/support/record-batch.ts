import { crc32c } from '../../packages/kafka/src/fetch/crc32c.ts';

/** A record for a batch. Its lengths and counts are right unless a test sets others. */
export interface BatchRecord {
  key?: Buffer | string | null;
  value?: Buffer | string | null;
  headers?: readonly (readonly [string, string | Buffer])[];
  /** Offset relative to the batch's first offset. Default: its index in the list. */
  offsetDelta?: number;
}

export interface BatchOptions {
  /** First offset. */
  first?: number;
  /** Number and function of a codec. */
  codec?: readonly [number, (bytes: Buffer) => Buffer];
  /** Replaces the output of the codec. */
  attributes?: number;
  magic?: number;
  firstTime?: number;
  maxTime?: number;
  lastDelta?: number;
  count?: number;
  producerId?: number;
  /** Replaces the right value. */
  crc?: number;
}

/**
 * A record batch in Kafka's present format. The options can make it invalid.
 * @see https://kafka.apache.org/documentation/#recordbatch
 */
export function recordBatch(records: readonly BatchRecord[], options: BatchOptions = {}): Buffer {
  const body = Buffer.concat(records.map(encodeRecord));
  return rawBatch(body, { count: records.length, lastDelta: records.length - 1, ...options });
}

/** A record batch around these bytes of records. */
export function rawBatch(body: Buffer, options: BatchOptions): Buffer {
  const {
    first = 0,
    codec = [0, (bytes) => bytes],
    magic = 2,
    firstTime = 1_000,
    maxTime = firstTime,
  } = options;
  const { lastDelta = 0, count = 1, producerId = -1, attributes = 0 } = options;
  const checked = Buffer.concat([
    int16(codec[0] | attributes),
    int32(lastDelta),
    int64(firstTime),
    int64(maxTime),
    int64(producerId),
    int16(-1),
    int32(-1),
    int32(count),
    codec[1](body),
  ]);
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(options.crc ?? crc32c(checked));
  return Buffer.concat([
    int64(first),
    int32(checked.length + 9),
    int32(0),
    Buffer.from([magic]),
    crc,
    checked,
  ]);
}

export function encodeRecord(
  { key = null, value = null, headers = [], offsetDelta }: BatchRecord,
  index = 0,
): Buffer {
  const record = Buffer.concat([
    Buffer.from([0]),
    varint(0),
    varint(offsetDelta ?? index),
    varbytes(key),
    varbytes(value),
    varint(headers.length),
    ...headers.flatMap(([name, one]) => [varbytes(name), varbytes(one)]),
  ]);
  return Buffer.concat([varint(record.length), record]);
}

/** A zigzag varint. */
export function varint(value: number): Buffer {
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  const bytes: number[] = [];
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function varbytes(value: Buffer | string | null): Buffer {
  if (value === null) return varint(-1);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(bytes.length), bytes]);
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}
