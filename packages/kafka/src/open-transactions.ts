import { AsyncLocalStorage } from 'node:async_hooks';
import type { Admin } from 'kafkajs';
import Broker from 'kafkajs/src/broker/index.js';
import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';

// No record is delivered while a transaction before it is open: it may still be aborted. A producer that never ends its
// transaction stops everything behind it in that partition.

const READ_UNCOMMITTED = 0;
const isolation = new AsyncLocalStorage<number>();
/** How long records are held back before that is logged, and how often, milliseconds. Most transactions are shorter. */
const REPORT_MS = 60_000;
/** By partition: the offset from which on records are held back, and since when, or since the last log. */
type Held = Map<string, { offset: string; since: number }>;

/** The ends of a topic's partitions, after the last record. For kafkajs 2.2.4 an open transaction is the end. */
export function fetchEnds(admin: Admin, topic: string): ReturnType<Admin['fetchTopicOffsets']> {
  return isolation.run(READ_UNCOMMITTED, () => admin.fetchTopicOffsets(topic));
}

/** Lets {@link fetchEnds} choose which records count, and logs where a consumer is held back. */
export function showOpenTransactions(): void {
  const { listOffsets } = Broker.prototype;
  Broker.prototype.listOffsets = function (request) {
    return listOffsets.call(this, {
      ...request,
      isolationLevel: isolation.getStore() ?? request.isolationLevel,
    });
  };
  const { fetch } = ConsumerGroup.prototype;
  const groups = new WeakMap<ConsumerGroup, Held>();
  ConsumerGroup.prototype.fetch = async function (nodeId) {
    const batches = await fetch.call(this, nodeId);
    const held: Held = groups.get(this) ?? new Map();
    groups.set(this, held);
    const now = performance.now();
    for (const { topic, partition, fetchedOffset: offset, highWatermark, rawMessages } of batches) {
      const records = Number(highWatermark) - Number(offset);
      const key = `${topic}-${partition}`;
      const before = held.get(key);
      if (rawMessages.length > 0 || records <= 0) held.delete(key);
      else if (before?.offset !== offset) held.set(key, { offset, since: now });
      else if (now - before.since >= REPORT_MS) {
        before.since = now;
        const facts = { topic, partition, offset, records };
        this.logger.error('a transaction that a producer has not ended holds back records', facts);
      }
    }
    return batches;
  };
}
