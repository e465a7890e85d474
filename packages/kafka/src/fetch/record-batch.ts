import { crc32c } from './crc32c.ts';
import { CODECS, CodecError, inflate } from './inflate.ts';
import { FormatError, Reader } from './reader.ts';
import { decodeRecord, type FetchedMessage, gap, type Refusal, refused } from './record.ts';

/** A partition as a broker sends it. */
export interface FetchedRecords {
  /** Record batches; the last one may be cut short. */
  set: Buffer;
  /** The offset that was asked for, and the partition's high watermark: the offset after its last readable record. */
  from: number;
  end: number;
  aborted: readonly { producerId: number; firstOffset: number }[];
}

/** How many bytes may still be inflated for one answer. */
interface Budget {
  bytes: number;
}

/** Most bytes that one batch is inflated to, more than twice a topic's limit. The rest of a larger batch is refused. */
export const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** Most records of one batch; librdkafka's default. A record of a few bytes takes far more as an object. */
const MAX_BATCH_RECORDS = 10_000;
/** Memory that a record takes in addition to its bytes, bytes. */
const RECORD_BYTES = 512;
/** Bytes of the first offset and the length, with which all formats begin. */
const PREFIX_BYTES = 12;
/** Bytes of a batch before its records: the prefix and the rest of the header. */
const HEADER_BYTES = 61;
const MAGIC_AT = 16;
const MAGIC = 2;
const IN_TRANSACTION = 0x10;
const IS_CONTROL = 0x20;
/** Type of a control record, in the last two bytes of its key: the transaction was aborted. */
const ABORT = 0;

/**
 * Reads the records of one partition. Unreadable ones are refused by their offsets, never by an error: the bytes of one
 * producer must not stop the others. Each batch ends in a message at its last offset, so that a reader gets past the
 * gaps that compaction, transactions or refusals leave.
 * @see https://kafka.apache.org/documentation/#recordbatch
 */
export async function decodeRecordSet(records: FetchedRecords, budget: Budget): Promise<FetchedMessage[]> {
  const messages: FetchedMessage[] = [];
  const isAborted = abortedFilter(records.aborted);
  const { set, from, end } = records;
  /** The lowest offset that is not yet accounted for. */
  let next = from;
  for (let at = 0; set.length - at >= HEADER_BYTES && next < end; ) {
    const length = set.readInt32BE(at + 8);
    const first = Number(set.readBigInt64BE(at));
    if (length < HEADER_BYTES - PREFIX_BYTES || first < (at === 0 ? 0 : next) || first >= end) {
      // The start of the next batch is unknown too: the consumer asks the broker for the next offset.
      const reason = 'the record batch has no sound header';
      messages.push(refused({ code: 'BATCH_UNREADABLE', first: next, last: next, reason }));
      break;
    }
    if (set.length - at < PREFIX_BYTES + length || (at > 0 && budget.bytes <= 0)) break;
    const batch = set.subarray(at, at + PREFIX_BYTES + length);
    const decoded = await decodeBatch(batch, { first, from: next, end, isAborted, budget });
    for (const message of decoded) messages.push(message);
    next = Math.max(next, Number(decoded.at(-1)?.offset ?? -1) + 1);
    at += batch.length;
  }
  return messages;
}

interface Context {
  first: number;
  from: number;
  end: number;
  isAborted: ReturnType<typeof abortedFilter>;
  budget: Budget;
}

async function decodeBatch(batch: Buffer, context: Context): Promise<FetchedMessage[]> {
  const { first, from, end, isAborted, budget } = context;
  const refuse = (reason: string, last: number) => {
    const offsets = { first: Math.max(first, from), last: Math.max(last, from) };
    return refused({ code: 'BATCH_UNREADABLE', ...offsets, reason, bytes: batch.length });
  };
  const magic = batch.readInt8(MAGIC_AT);
  // Other formats have their last offset elsewhere: only the first one is refused.
  if (magic !== MAGIC) return [refuse(`the record batch has format ${magic}, only ${MAGIC} is known`, first)];
  const header = readHeader(batch);
  const last = first + header.lastDelta;
  if (header.lastDelta < 0 || last >= end)
    return [refuse('the record batch has no sound last offset', first)];
  if (crc32c(header.checked) !== header.crc) return [refuse('the record batch fails its checksum', last)];
  const codec = CODECS[header.attributes & 7];
  if (!codec) return [refuse(`the record batch has the unknown codec ${header.attributes & 7}`, last)];
  if (isAborted(header, last) || header.attributes & IS_CONTROL) return [gap(last)];
  try {
    const { bytes, isCut } = await inflate(codec, header.records, MAX_BATCH_BYTES);
    const decoded = decodeRecords(bytes, { ...header, first, last, from, isCut });
    budget.bytes -= decoded.bytes;
    return decoded.messages;
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    return [refuse(`the record batch can't be inflated, ${error.message}`, last)];
  }
}

type BatchHeader = ReturnType<typeof readHeader>;

/** Reads the fields in the order of the batch. */
function readHeader(batch: Buffer) {
  const reader = new Reader(batch);
  reader.bytes(MAGIC_AT + 1);
  return {
    crc: reader.uint32(),
    /** The bytes that the checksum covers. */
    checked: batch.subarray(reader.at),
    attributes: reader.int16(),
    /** Offset of the last record, relative to the batch's first offset. */
    lastDelta: reader.int32(),
    firstTime: reader.int64(),
    maxTime: reader.int64(),
    producerId: reader.int64(),
    epochAndSequence: reader.bytes(2 + 4),
    count: reader.int32(),
    records: reader.bytes(reader.remaining),
  };
}

interface RecordsContext extends BatchHeader {
  first: number;
  last: number;
  from: number;
  isCut: boolean;
}

/** @returns the messages of the batch, and the memory that they take as events, bytes */
function decodeRecords(
  bytes: Buffer,
  context: RecordsContext,
): { messages: FetchedMessage[]; bytes: number } {
  const { count, first, last, from, isCut } = context;
  const reader = new Reader(bytes);
  const messages: FetchedMessage[] = [];
  let used = bytes.length;
  let next = first;
  const refuseRest = (code: Refusal['code'], reason: string) => {
    const first = Math.min(Math.max(next, from), last);
    messages.push(refused({ code, first, last, reason, bytes: context.records.length }));
  };
  try {
    for (let index = 0; index < Math.min(count, MAX_BATCH_RECORDS); index++) {
      const record = reader.varbytes();
      if (record === null) throw new FormatError('a record has no length');
      const { message, weight } = decodeRecord(record, context);
      const offset = Number(message.offset);
      if (offset < next || offset > last) throw new FormatError(`a record has offset ${offset}`);
      next = offset + 1;
      if (offset < from) continue;
      messages.push(message);
      used += weight + RECORD_BYTES;
    }
    if (count > MAX_BATCH_RECORDS)
      refuseRest('BATCH_TOO_LARGE', `the record batch has ${count} records, over ${MAX_BATCH_RECORDS}`);
    else if (next <= last) messages.push(gap(last));
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    const problem = isCut ? `inflates to over ${MAX_BATCH_BYTES} bytes` : `is malformed: ${error.message}`;
    refuseRest(isCut ? 'BATCH_TOO_LARGE' : 'BATCH_UNREADABLE', `the record batch ${problem}`);
  }
  return { messages, bytes: used };
}

/** Finds the batches of aborted transactions: from a transaction's first offset to its control record. */
function abortedFilter(aborted: FetchedRecords['aborted']) {
  const coming = aborted.toSorted((one, other) => one.firstOffset - other.firstOffset);
  const open = new Set<number>();
  return ({ producerId, attributes, records }: BatchHeader, last: number): boolean => {
    // Also before a control record: an answer may begin with the end of a transaction.
    while (coming[0] && coming[0].firstOffset <= last) open.add(coming.shift()?.producerId ?? -1);
    if (attributes & IS_CONTROL && isAbort(records)) open.delete(producerId);
    return (attributes & IN_TRANSACTION) !== 0 && open.has(producerId);
  };
}

function isAbort(records: Buffer): boolean {
  try {
    const record = new Reader(new Reader(records).varbytes() ?? Buffer.alloc(0));
    record.int8();
    record.varint();
    record.varint();
    const key = new Reader(record.varbytes() ?? Buffer.alloc(0));
    key.int16();
    return key.int16() === ABORT;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return false;
  }
}
