import { type Cluster, Partitioners } from 'kafkajs';
import { clusterOf } from './cluster.ts';
import type { Kafka } from './connect.ts';
import { refusalOf } from './fetch/index.ts';

/** A record as it lies in a partition. */
export interface TailRecord {
  offset: number;
  key: Buffer | null;
  value: Buffer | null;
  headers: Record<string, Buffer | undefined>;
}

/** The end of a partition could not be read. A later attempt may succeed. */
export class TailError extends Error {
  override readonly name = 'TailError';
}

/** Where a record lies. */
interface Place {
  topic: string;
  partition: number;
  offset: number;
}

/** Reads records without a consumer group: nothing to join, commit or leave behind. */
export interface Tail {
  /**
   * The newest records of the partition on which an {@link orderedProducer} puts `key`, other keys' among them, the
   * newest first. They are fetched as they are asked for.
   * @param limit most records
   * @throws TailError
   */
  newest(topic: string, key: string, limit: number): AsyncGenerator<TailRecord, void>;
  /**
   * The records of a partition before a place, other keys' among them, the newest first. They are fetched as they are
   * asked for.
   * @param limit most offsets to go back
   * @throws TailError
   */
  before(place: Place, limit: number): AsyncGenerator<TailRecord, void>;
  /**
   * The records at these places. Places of a partition that lie close together are read in one fetch. A record that is
   * not there, or in a topic that can't be read, is left out.
   * @throws TailError
   */
  at(places: readonly Place[]): Promise<(Place & TailRecord)[]>;
  close(): Promise<void>;
}

/** Records fetched at once: two batches of 25. */
const STEP = 50;
const MAX_FETCH_BYTES = 16 * 1024 * 1024;
const READ_COMMITTED = 1;
/** What brokers say of a topic that can't be read, ever: whoever writes to Kafka may name one as a place. */
const UNREADABLE = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'INVALID_TOPIC_EXCEPTION',
  'TOPIC_AUTHORIZATION_FAILED',
]);

/** A tail reader. Nothing is connected before it is used. */
export function createTail(kafka: Kafka): Tail {
  const cluster = clusterOf(kafka);
  const open = async (topic: string) => {
    await cluster.connect();
    await cluster.addTargetTopic(topic);
    await cluster.refreshMetadataIfNecessary();
  };
  const isReadable = (topic: string) =>
    open(topic).then(
      () => true,
      (error) => {
        if (!UNREADABLE.has(error.type)) throw error;
        return false;
      },
    );
  // A leader that moved, or a connection that broke, is looked up anew next time.
  const fail = async (what: string, cause: unknown): Promise<never> => {
    await cluster.disconnect().catch(() => {});
    throw new TailError(`can't read ${what}: ${(cause as Error).message}`, { cause });
  };
  return {
    async at(places) {
      try {
        const spans: Span[] = [];
        // One topic after the other: in one request with an unreadable topic, the others would fail, too.
        for (const [topic, some] of Map.groupBy(places, (place) => place.topic))
          if (await isReadable(topic)) spans.push(...spansOf(some));
        return (await Promise.all(spans.map((span) => readSpan(cluster, span)))).flat();
      } catch (cause) {
        return fail(`${places.length} records by their places`, cause);
      }
    },
    async *newest(topic, key, limit) {
      try {
        await open(topic);
        const partition = partitionOf(cluster, topic, key);
        const high = await offsetOf(cluster, topic, partition, false);
        yield* backwards(cluster, { topic, partition, offset: high }, limit);
      } catch (cause) {
        await fail(`the end of ${topic} for '${key}'`, cause);
      }
    },
    async *before(place, limit) {
      try {
        await open(place.topic);
        yield* backwards(cluster, place, limit);
      } catch (cause) {
        await fail(`${place.topic}-${place.partition} before ${place.offset}`, cause);
      }
    },
    close: () => cluster.disconnect(),
  };
}

/** Records before a place, the newest first. */
async function* backwards(cluster: Cluster, { topic, partition, offset }: Place, limit: number) {
  const low = Math.max(await offsetOf(cluster, topic, partition, true), offset - limit);
  for (let end = offset; end > low; end -= STEP) {
    const records = await fetchRange(cluster, topic, partition, Math.max(low, end - STEP), end);
    yield* records.reverse();
  }
}

function partitionOf(cluster: Cluster, topic: string, key: string): number {
  const partitionMetadata = cluster.findTopicPartitionMetadata(topic);
  if (partitionMetadata.length === 0) throw new TailError(`there is no topic ${topic}`);
  return Partitioners.DefaultPartitioner()({ topic, partitionMetadata, message: { key, value: null } });
}

/** Places of one partition, none far from the next, by their offsets. */
type Span = Pick<Place, 'topic' | 'partition'> & { offsets: number[] };

function spansOf(places: readonly Place[]): Span[] {
  const spans: Span[] = [];
  for (const { topic, partition, offset } of [...places].sort((a, b) => a.offset - b.offset)) {
    const near = spans.find(
      (one) =>
        one.topic === topic && one.partition === partition && offset - (one.offsets.at(-1) ?? 0) < STEP,
    );
    if (near) near.offsets.push(offset);
    else spans.push({ topic, partition, offsets: [offset] });
  }
  return spans;
}

async function readSpan(
  cluster: Cluster,
  { topic, partition, offsets }: Span,
): Promise<(Place & TailRecord)[]> {
  const low = await offsetOf(cluster, topic, partition, true);
  const high = await offsetOf(cluster, topic, partition, false);
  const end = Math.min(high, (offsets.at(-1) ?? 0) + 1);
  const records = await fetchRange(cluster, topic, partition, Math.max(low, offsets[0] ?? 0), end);
  return records
    .filter(({ offset }) => offsets.includes(offset))
    .map((record) => ({ ...record, topic, partition }));
}

/** Offset of a partition's first record, or that after its last one. */
async function offsetOf(cluster: Cluster, topic: string, partition: number, first: boolean): Promise<number> {
  const [answer] = await cluster.fetchTopicsOffset([
    { topic, partitions: [{ partition }], fromBeginning: first },
  ]);
  return Number(answer?.partitions[0]?.offset);
}

interface FetchedPartition {
  errorCode: number;
  messages: {
    offset: string;
    key: Buffer | null;
    value: Buffer | null;
    headers?: TailRecord['headers'];
    isControlRecord?: boolean;
  }[];
}

/** Records from offset `from` up to before `end`; fewer where offsets are missing. */
async function fetchRange(
  cluster: Cluster,
  topic: string,
  partition: number,
  from: number,
  end: number,
): Promise<TailRecord[]> {
  const records: TailRecord[] = [];
  for (let next = from; next < end; ) {
    const { errorCode, messages } = await fetchFrom(cluster, topic, partition, next);
    if (errorCode !== 0) throw new TailError(`the broker answered with error ${errorCode}`);
    // A broker sends whole batches, which may begin earlier and end later than what was asked for.
    const fresh = messages.filter(({ offset }) => Number(offset) >= next && Number(offset) < end);
    for (const message of fresh) {
      const { offset, key, value, headers = {}, isControlRecord } = message;
      if (isControlRecord || refusalOf(message)) continue;
      records.push({ offset: Number(offset), key, value, headers });
    }
    const last = messages.at(-1);
    if (!last || Number(last.offset) < next) break;
    next = Number(last.offset) + 1;
  }
  return records;
}

async function fetchFrom(
  cluster: Cluster,
  topic: string,
  partition: number,
  offset: number,
): Promise<FetchedPartition> {
  const [nodeId = ''] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
  const broker = await cluster.findBroker({ nodeId });
  const answer: { responses: { partitions: FetchedPartition[] }[] } = await broker.fetch({
    isolationLevel: READ_COMMITTED,
    maxWaitTime: 1_000,
    minBytes: 1,
    maxBytes: MAX_FETCH_BYTES,
    topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: MAX_FETCH_BYTES }] }],
  });
  return answer.responses[0]?.partitions[0] ?? { errorCode: 0, messages: [] };
}
