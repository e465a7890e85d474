import { setTimeout as sleep } from 'node:timers/promises';
import { type Cluster, Partitioners } from 'kafkajs';
import { clusterOf } from './cluster.ts';
import type { Kafka } from './connect.ts';
import type { FetchedMessage, Refusal } from './fetch/index.ts';
import { untilLed } from './leaderless.ts';

/** A record of a partition. */
export interface TailRecord {
  offset: number;
  key: Buffer | null;
  value: Buffer | null;
  headers: Record<string, Buffer | Buffer[] | undefined>;
}

/** A record with its timestamp, or a placeholder for records that can't be delivered. */
export interface StoredRecord extends TailRecord {
  /** Epoch milliseconds. */
  timestamp: number;
  /** Of a placeholder: the reason, and the offsets of the records. */
  refusal?: Refusal | undefined;
}

/** The end of a partition could not be read. A later attempt may succeed. */
export class TailError extends Error {
  override readonly name = 'TailError';
}

/** Position of a record. */
interface Position {
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
   * The records of a partition before a position, other keys' among them, the newest first. They are fetched as they are
   * asked for.
   * @param limit most offsets to go back
   * @throws TailError
   */
  before(position: Position, limit: number): AsyncGenerator<TailRecord, void>;
  /**
   * The records at these positions. Positions of a partition that are close together are read in one fetch. A record that is
   * not there, or in a topic that can't be read, is left out.
   * @throws TailError
   */
  at(positions: readonly Position[]): Promise<(Position & TailRecord)[]>;
  /**
   * The records of a partition from a position up to before offset `end`, in order, with placeholders for those that can't
   * be delivered. Records that expire meanwhile are left out. Waits for a broker that is away for some seconds.
   * @throws TailError
   */
  range(position: Position, end: number): AsyncGenerator<StoredRecord, void>;
  close(): Promise<void>;
}

/** Records fetched at once: two batches of 25. */
const STEP = 50;
const MAX_FETCH_BYTES = 16 * 1024 * 1024;
/** Limits for a few records: each fetch reads what follows them, too, and a Lambda has 512 MB for many at a time. */
const SMALL_FETCH_BYTES = 4 * 1024 * 1024;
const SPANS_AT_ONCE = 4;
const READ_COMMITTED = 1;
/** Attempts to read a range from which no record comes, and the pause between them, milliseconds. */
const MAX_ATTEMPTS = 10;
const RETRY_MS = 1_000;
/** Errors of a topic that can never be read. Whoever writes to Kafka may name such a topic in a record. */
const UNREADABLE = /^(UNKNOWN_TOPIC_OR_PARTITION|INVALID_TOPIC_EXCEPTION|TOPIC_AUTHORIZATION_FAILED)$/;

/**
 * A tail reader. Nothing is connected before it is used.
 * @example
 * for await (const record of createTail(kafka).newest('events', 'gate', 100)) console.log(record);
 */
export function createTail(kafka: Kafka): Tail {
  const cluster = clusterOf(kafka);
  const open = (topic: string) =>
    untilLed(cluster, async () => {
      await cluster.connect();
      await cluster.addTargetTopic(topic);
      await cluster.refreshMetadataIfNecessary();
    });
  const canRead = (topic: string) =>
    open(topic).then(
      () => true,
      (error) => {
        if (!UNREADABLE.test(error.type)) throw error;
        return false;
      },
    );
  // The next call connects again, and looks up a leader that has moved.
  const fail = async (what: string, cause: unknown): Promise<never> => {
    await cluster.disconnect().catch(() => {});
    throw new TailError(`can't read ${what}: ${(cause as Error).message}`, { cause });
  };
  return {
    async at(positions) {
      try {
        const spans: Span[] = [];
        // One topic after the other: in one request with an unreadable topic, the others would fail, too.
        for (const [topic, some] of Map.groupBy(positions, (position) => position.topic))
          if (await canRead(topic)) spans.push(...spansOf(some));
        const found: Awaited<ReturnType<Tail['at']>> = [];
        while (spans.length > 0) {
          const some = spans.splice(0, SPANS_AT_ONCE).map((span) => readSpan(cluster, span));
          found.push(...(await Promise.all(some)).flat());
        }
        return found;
      } catch (cause) {
        return fail(`${positions.length} records by their positions`, cause);
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
    async *before(position, limit) {
      try {
        await open(position.topic);
        yield* backwards(cluster, position, limit);
      } catch (cause) {
        await fail(`${position.topic}-${position.partition} before ${position.offset}`, cause);
      }
    },
    async *range({ topic, partition, offset }, end) {
      let next = offset;
      for (let attempt = 1; next < end; attempt++) {
        let cause: unknown = new Error('the broker sends nothing');
        try {
          await open(topic);
          const low = await offsetOf(cluster, topic, partition, true);
          if (low > next) next = low;
          const from = { topic, partition, offset: next };
          for await (const { isGap, ...record } of fetched(cluster, from, end)) {
            next = record.offset + 1;
            attempt = 0;
            if (!isGap && record.offset < end) yield record;
          }
          if (next >= end) return;
        } catch (error) {
          cause = error;
          await cluster.disconnect().catch(() => {});
        }
        if (attempt >= MAX_ATTEMPTS) await fail(`${topic}-${partition} from ${next} on`, cause);
        await sleep(RETRY_MS);
      }
    },
    close: () => cluster.disconnect(),
  };
}

/** Records before a position, the newest first. */
async function* backwards(cluster: Cluster, { topic, partition, offset }: Position, limit: number) {
  const low = Math.max(await offsetOf(cluster, topic, partition, true), offset - limit);
  for (let end = offset; end > low; end -= STEP) {
    const from = { topic, partition, offset: Math.max(low, end - STEP) };
    yield* (await fetchRange(cluster, from, end)).reverse();
  }
}

function partitionOf(cluster: Cluster, topic: string, key: string): number {
  const partitionMetadata = cluster.findTopicPartitionMetadata(topic);
  if (partitionMetadata.length === 0) throw new TailError(`there is no topic ${topic}`);
  return Partitioners.DefaultPartitioner()({ topic, partitionMetadata, message: { key, value: null } });
}

/** Offsets of one partition, each close to the one before it. */
type Span = Pick<Position, 'topic' | 'partition'> & { offsets: number[] };

function spansOf(positions: readonly Position[]): Span[] {
  const spans: Span[] = [];
  for (const { topic, partition, offset } of [...positions].sort((a, b) => a.offset - b.offset)) {
    const known = spans.filter((one) => one.topic === topic && one.partition === partition);
    const near = known.find(({ offsets }) => offset - (offsets.at(-1) ?? 0) < STEP);
    if (near) near.offsets.push(offset);
    else spans.push({ topic, partition, offsets: [offset] });
  }
  return spans;
}

async function readSpan(
  cluster: Cluster,
  { topic, partition, offsets }: Span,
): Promise<(Position & TailRecord)[]> {
  const low = await offsetOf(cluster, topic, partition, true);
  const high = await offsetOf(cluster, topic, partition, false);
  const end = Math.min(high, (offsets.at(-1) ?? 0) + 1);
  const from = { topic, partition, offset: Math.max(low, offsets[0] ?? 0) };
  const found: (Position & TailRecord)[] = [];
  for await (const record of fetched(cluster, from, end, SMALL_FETCH_BYTES))
    if (isReadable(record) && offsets.includes(record.offset))
      // A copy: the record itself holds its whole batch in memory.
      found.push({ ...record, topic, partition, value: record.value && Buffer.from(record.value) });
  return found;
}

/** Offset of a partition's first record, or that after its last one. */
async function offsetOf(cluster: Cluster, topic: string, partition: number, first: boolean): Promise<number> {
  const [answer] = await cluster.fetchTopicsOffset([
    { topic, partitions: [{ partition }], fromBeginning: first },
  ]);
  return Number(answer?.partitions[0]?.offset);
}

/** A record, or a gap: up to its offset there is nothing to deliver. */
type Fetched = StoredRecord & { isGap: boolean };
const isReadable = ({ isGap, refusal }: Fetched) => !isGap && !refusal;

/**
 * The records and gaps of a partition from a position on. They go past `end` to the end of a batch. They end early where
 * the broker sends nothing.
 */
async function* fetched(
  cluster: Cluster,
  { topic, partition, offset }: Position,
  end: number,
  maxBytes = MAX_FETCH_BYTES,
) {
  for (let next = offset; next < end; ) {
    const position = { topic, partition, offset: next };
    const messages = await untilLed(cluster, () => fetchFrom(cluster, position, maxBytes));
    // A broker sends whole batches, which may begin before the requested offset.
    const fresh = messages.filter((message) => message.offset >= next);
    if (fresh.length === 0) return;
    yield* fresh;
    next = (fresh.at(-1)?.offset ?? end) + 1;
  }
}

/** Records from a position up to before offset `end`; fewer where offsets are missing. */
async function fetchRange(cluster: Cluster, from: Position, end: number): Promise<TailRecord[]> {
  const all = await Array.fromAsync(fetched(cluster, from, end, SMALL_FETCH_BYTES));
  return all.filter((record) => record.offset < end && isReadable(record));
}

async function fetchFrom(
  cluster: Cluster,
  { topic, partition, offset }: Position,
  maxBytes: number,
): Promise<Fetched[]> {
  const [nodeId = ''] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
  const broker = await cluster.findBroker({ nodeId });
  const answer: { responses: { partitions: { messages: FetchedMessage[] }[] }[] } = await broker.fetch({
    isolationLevel: READ_COMMITTED,
    maxWaitTime: 1_000,
    minBytes: 1,
    maxBytes,
    topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes }] }],
  });
  const messages = answer.responses[0]?.partitions[0]?.messages ?? [];
  return messages.map(({ offset, timestamp, key, value, headers, isControlRecord, refusal }) => ({
    ...{ offset: Number(offset), timestamp: Number(timestamp), key, value, headers },
    ...{ refusal, isGap: isControlRecord },
  }));
}
