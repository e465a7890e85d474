import Fetch from 'kafkajs/src/protocol/requests/fetch/index.js';
import { FormatError, Reader } from './reader.ts';
import type { FetchedMessage, Refusal } from './record.ts';
import { decodeRecordSet } from './record-batch.ts';

export { type FetchedMessage, MAX_EVENT_BYTES, type Refusal } from './record.ts';
export { MAX_BATCH_BYTES } from './record-batch.ts';

/** Most bytes that the batches of one answer inflate to. The batch that reaches this limit is still inflated. */
const MAX_RESPONSE_BYTES = 32 * 1024 * 1024;
/** The first version that carries record batches of today's format, and the lowest that brokers of Kafka 4 know. */
const FIRST_VERSION = 4;

/** Of a placeholder: why its records can't be read or delivered. Undefined for an ordinary message. */
export function refusalOf(message: object): Refusal | undefined {
  return (message as Partial<FetchedMessage>).refusal;
}

/**
 * kafkajs 2.2.4 can't read Snappy, LZ4 or Zstandard, inflates a batch of any size, verifies no checksum, takes
 * quadratic time for headers, and throws at the first byte it doesn't know: its consumer then asks for the same bytes
 * for ever. Here answers to Fetch are read with limits, for every consumer. See {@link decodeRecordSet}.
 */
export function limitFetches(): void {
  const { protocol } = Fetch;
  Fetch.protocol = ({ version }) => {
    const create = protocol({ version });
    if (Number(version) < FIRST_VERSION) return create;
    return (request) => {
      const definition = create(request);
      const decode = (answer: Buffer) => decodeResponse(answer, Number(version), request.topics);
      return { ...definition, response: { ...definition.response, decode } };
    };
  };
}

type Topics = Parameters<ReturnType<typeof Fetch.protocol>>[0]['topics'];

/** @see https://kafka.apache.org/protocol.html#The_Messages_Fetch */
async function decodeResponse(answer: Buffer, version: number, requested: Topics) {
  const reader = new Reader(answer);
  const clientSideThrottleTime = reader.int32();
  // From version 8 on the client itself waits (KIP-219). The broker does not read its requests before that time.
  const throttle = { throttleTime: version < 8 ? clientSideThrottleTime : 0, clientSideThrottleTime };
  const session = version < 7 ? {} : { errorCode: reader.int16(), sessionId: reader.int32() };
  const topics = readArray(reader, () => ({
    topicName: reader.string(),
    partitions: readArray(reader, () => readPartition(reader, version)),
  }));
  const decoded = new Map<object, FetchedMessage[]>();
  const budget = { bytes: MAX_RESPONSE_BYTES };
  // The budget may be used up before the last partitions. A random order makes these other partitions each time.
  const all = topics.flatMap(({ topicName, partitions }) => partitions.map((one) => ({ topicName, one })));
  for (const { topicName, one } of all.toSorted(() => Math.random() - 0.5)) {
    const from = requestedOffset(requested, topicName, one.partition);
    const records = { set: one.set, from, end: one.highWatermark, aborted: one.aborted };
    decoded.set(one, budget.bytes > 0 ? await decodeRecordSet(records, budget) : []);
  }
  const responses = topics.map(({ topicName, partitions }) => ({
    topicName,
    partitions: partitions.map((one) => forKafkajs(one, decoded.get(one) ?? [])),
  }));
  return { ...throttle, ...session, responses };
}

function readArray<Item>(reader: Reader, read: () => Item): Item[] {
  const length = reader.int32();
  if (length > reader.remaining) throw new FormatError(`an answer to Fetch names ${length} parts`);
  return Array.from({ length: Math.max(0, length) }, read);
}

/** Reads the fields in the order of the answer. */
function readPartition(reader: Reader, version: number) {
  return {
    partition: reader.int32(),
    errorCode: reader.int16(),
    highWatermark: reader.int64(),
    lastStableOffset: reader.int64(),
    lastStartOffset: version < 5 ? undefined : reader.int64(),
    aborted: readArray(reader, () => ({ producerId: reader.int64(), firstOffset: reader.int64() })),
    preferredReadReplica: version < 11 ? undefined : reader.int32(),
    set: reader.bytes(Math.max(0, reader.int32())),
  };
}

function forKafkajs(one: ReturnType<typeof readPartition>, messages: FetchedMessage[]) {
  const { aborted: _left, set: _decoded, highWatermark, lastStableOffset, lastStartOffset, ...rest } = one;
  return {
    ...rest,
    highWatermark: String(highWatermark),
    lastStableOffset: String(lastStableOffset),
    ...(lastStartOffset === undefined ? {} : { lastStartOffset: String(lastStartOffset) }),
    // Records of aborted transactions are left out already.
    abortedTransactions: [],
    messages,
  };
}

function requestedOffset(requested: Topics, topicName: string, partition: number): number {
  const partitions = requested.find(({ topic }) => topic === topicName)?.partitions;
  return Number(partitions?.find((one) => one.partition === partition)?.fetchOffset ?? 0);
}
