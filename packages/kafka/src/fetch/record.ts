import { Reader } from './reader.ts';

/** Records that can't be delivered. They stay in Kafka until they expire. */
export interface Refusal {
  code: 'BATCH_UNREADABLE' | 'BATCH_TOO_LARGE' | 'RECORD_TOO_LARGE';
  /** Offsets of the first and the last of them. */
  first: number;
  last: number;
  reason: string;
  /** Their size in Kafka, where that is known. */
  bytes?: number;
  /** Key of a single record, shortened. */
  key?: Buffer | undefined;
}

/** A record in the form that kafkajs hands on. */
export interface FetchedMessage {
  offset: string;
  /** Epoch milliseconds. */
  timestamp: string;
  attributes: number;
  key: Buffer | null;
  value: Buffer | null;
  headers: Record<string, Buffer | Buffer[]>;
  /** kafkajs moves past a control record, and does not deliver it. */
  isControlRecord: boolean;
  refusal?: Refusal;
}

/**
 * The largest event that a Lambda invocation carries, bytes of JSON. It has the value in base64, and headers as byte
 * numbers of up to 4 characters each.
 */
export const MAX_EVENT_BYTES = 6 * 1024 * 1024;
const MAX_HEADERS = 256;
/** Most bytes that are kept of a refused record's key. */
const MAX_KEY_BYTES = 128;

const HAS_APPEND_TIME = 0x08;

/** Properties of a batch that apply to each of its records. */
interface BatchFacts {
  /** Offset of the batch's first record. */
  first: number;
  firstTime: number;
  maxTime: number;
  attributes: number;
}

/** @returns the record, refused if it is too large for an event, and its size in the JSON of an event, bytes */
export function decodeRecord(
  record: Buffer,
  { first, firstTime, maxTime, attributes: ofBatch }: BatchFacts,
): { message: FetchedMessage; weight: number } {
  const reader = new Reader(record);
  const attributes = reader.int8();
  const timestamp = firstTime + reader.varint();
  const offset = first + reader.varint();
  const [key, value] = [reader.varbytes(), reader.varbytes()];
  const count = reader.varint();
  const headerBytes = reader.remaining;
  const weight = ((key?.length ?? 0) + (value?.length ?? 0)) * (4 / 3) + headerBytes * 4;
  const problem =
    weight > MAX_EVENT_BYTES
      ? `the record has ${record.length} bytes, more than an event carries`
      : count > MAX_HEADERS
        ? `the record has ${count} headers, over ${MAX_HEADERS}`
        : undefined;
  if (problem) {
    const short = key ? Buffer.from(key.subarray(0, MAX_KEY_BYTES)) : undefined;
    const facts = { first: offset, last: offset, bytes: record.length, key: short };
    return { message: refused({ code: 'RECORD_TOO_LARGE', reason: problem, ...facts }), weight: 0 };
  }
  const message = {
    offset: String(offset),
    timestamp: String(ofBatch & HAS_APPEND_TIME ? maxTime : timestamp),
    attributes,
    key,
    value,
    headers: readHeaders(reader, count),
    isControlRecord: false,
  };
  return { message, weight };
}

function readHeaders(reader: Reader, count: number): FetchedMessage['headers'] {
  // Header names come from outside: `constructor` is a name like any other.
  const headers: FetchedMessage['headers'] = Object.create(null);
  for (let index = 0; index < count; index++) {
    const name = reader.varbytes()?.toString() ?? '';
    const value = reader.varbytes() ?? Buffer.alloc(0);
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  return headers;
}

/** A message which says that there is nothing to deliver up to this offset. */
export function gap(offset: number): FetchedMessage {
  const nothing = { key: null, value: null, headers: {} };
  return { offset: String(offset), timestamp: '-1', attributes: 0, ...nothing, isControlRecord: true };
}

export function refused(refusal: Refusal): FetchedMessage {
  return { ...gap(refusal.last), key: refusal.key ?? null, isControlRecord: false, refusal };
}
