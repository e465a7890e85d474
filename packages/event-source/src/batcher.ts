import type { MSKRecord } from '@video-pipeline/frame';
import type { Refusal } from '@video-pipeline/kafka';

/** When a batch is closed, whichever comes first. */
interface BatchLimits {
  maxRecords: number;
  /** Longest wait after the batch's first record came, milliseconds. */
  windowMs: number;
  /** Size as JSON, as {@link payloadBytes} counts it. */
  maxBytes: number;
}

/** Records that can't be delivered, at the offset of the last of them. */
export interface Refused {
  record: MSKRecord;
  refusal: Refusal;
}

/** Records for one invocation, each partition's in offset order. */
export interface Batch {
  records: MSKRecord[];
  /** Refused records between them, which are not part of the invocation. */
  refused?: Refused[];
  /** Partitions with records in it; none of them goes into another batch before this one is released. */
  partitions: number[];
  /** Size as JSON. It is over the limit only where a single record is. */
  bytes: number;
}

interface Buffered {
  record: MSKRecord;
  refusal: Refusal | undefined;
  bytes: number;
  /** When it was added, milliseconds. */
  since: number;
}

interface Partition {
  number: number;
  queue: Buffered[];
  bytes: number;
  /** The lowest offset that was not yet added. */
  next: number;
}

/** How many batches of one partition are kept ready beside the one in work. */
const READY_BATCHES = 2;

/** Size of a record in an event, in bytes of JSON, with the comma after it. */
export function payloadBytes(record: MSKRecord): number {
  // Base64 is ASCII: its length need not be counted by writing it out.
  return Buffer.byteLength(JSON.stringify({ ...record, value: '' })) + record.value.length + 1;
}

/**
 * Gathers records into batches as Lambda's poller does. It uses neither Kafka nor a clock: its callers pass the time. A
 * partition that fills a batch alone gets one of its own, so that batches of others can be processed meanwhile.
 */
export class RecordBatcher {
  readonly #limits: BatchLimits;
  readonly #partitions = new Map<number, Partition>();
  /** Partitions with a batch that is not released, whether they are still assigned to us or not. */
  readonly #busy = new Set<number>();

  constructor(limits: BatchLimits) {
    this.#limits = limits;
  }

  /** Sets the assigned partitions, and drops the records of all others. Partitions that stay keep their records. */
  assign(partitions: readonly number[]): void {
    for (const [partition] of this.#partitions) {
      if (!partitions.includes(partition)) this.#partitions.delete(partition);
    }
    for (const partition of partitions) {
      if (!this.#partitions.has(partition)) this.reset(partition);
    }
  }

  /** Drops the records of an assigned partition. Its offsets may begin at 0 again. */
  reset(partition: number): void {
    this.#partitions.set(partition, { number: partition, queue: [], bytes: 0, next: 0 });
  }

  /** The lowest offset of the partition that was not yet added. */
  nextOffset(partition: number): number {
    return this.#partitions.get(partition)?.next ?? 0;
  }

  /**
   * Notes that no record before an offset will be added any more: compaction and transactions leave gaps.
   * @returns whether all records before the offset are done. Then the caller has to commit it, since no batch will.
   */
  passTo(partition: number, offset: number): boolean {
    const known = this.#partitions.get(partition);
    if (!known || offset <= known.next) return false;
    known.next = offset;
    return known.queue.length === 0 && !this.#busy.has(partition);
  }

  /** The offset up to which the partition is done once its batch in work is done. */
  endOf(partition: number): number {
    const known = this.#partitions.get(partition);
    return known?.queue[0]?.record.offset ?? known?.next ?? 0;
  }

  /**
   * Adds a record. A record that was added already, as after a rebalance, is left out, and so is one of a partition
   * that is not assigned.
   * @param now milliseconds
   * @param refusal given where the record stands for records that can't be delivered
   */
  add(record: MSKRecord, now: number, refusal?: Refusal): void {
    const partition = this.#partitions.get(record.partition);
    if (!partition || record.offset < partition.next) return;
    const bytes = payloadBytes(record);
    partition.queue.push({ record, refusal, bytes, since: now });
    partition.bytes += bytes;
    partition.next = record.offset + 1;
  }

  /**
   * The next batch that is closed, if any. Its partitions give no other batch before it is released.
   * @param now milliseconds
   */
  take(now: number): Batch | undefined {
    const free = this.#free();
    const full = free.find((partition) => this.#fillsBatch([partition]));
    if (full) return this.#cut([full]);
    const [oldest] = free;
    const due = oldest && now - sinceOf(oldest) >= this.#limits.windowMs;
    return due || this.#fillsBatch(free) ? this.#cut(free) : undefined;
  }

  /** Lets the batch's partitions give the next one. */
  release(batch: Batch): void {
    for (const partition of batch.partitions) this.#busy.delete(partition);
  }

  /** When {@link take} gives a batch even if nothing is added or released before; milliseconds. */
  dueAt(): number | undefined {
    const [oldest] = this.#free();
    return oldest && sinceOf(oldest) + this.#limits.windowMs;
  }

  /** Whether so many records of the partition are buffered that no more need to be fetched now. */
  hasEnough(partition: number): boolean {
    const { queue, bytes } = this.#partitions.get(partition) ?? { queue: [], bytes: 0 };
    const { maxRecords, maxBytes } = this.#limits;
    return queue.length >= READY_BATCHES * maxRecords || bytes >= READY_BATCHES * maxBytes;
  }

  /** Partitions that may give a batch, the one that waits longest first. */
  #free(): Partition[] {
    return [...this.#partitions.values()]
      .filter(({ number, queue }) => queue.length > 0 && !this.#busy.has(number))
      .sort((one, other) => sinceOf(one) - sinceOf(other));
  }

  #fillsBatch(partitions: readonly Partition[]): boolean {
    const records = partitions.reduce((sum, { queue }) => sum + queue.length, 0);
    const bytes = partitions.reduce((sum, partition) => sum + partition.bytes, 0);
    return records >= this.#limits.maxRecords || bytes >= this.#limits.maxBytes;
  }

  /** Fills a batch from the partitions: the record that has waited longest comes first. */
  #cut(partitions: readonly Partition[]): Batch | undefined {
    const batch: Batch = { records: [], partitions: [], bytes: 0 };
    const refused: Refused[] = [];
    const partitionsOf = new Set<number>();
    const count = () => batch.records.length + refused.length;
    while (count() < this.#limits.maxRecords) {
      const from = partitions.reduce((one, other) => (sinceOf(other) < sinceOf(one) ? other : one));
      const item = from.queue[0];
      if (!item) break;
      if (count() > 0 && batch.bytes + item.bytes > this.#limits.maxBytes) break;
      from.queue.shift();
      from.bytes -= item.bytes;
      if (item.refusal) refused.push({ record: item.record, refusal: item.refusal });
      else batch.records.push(item.record);
      batch.bytes += item.bytes;
      this.#busy.add(from.number);
      partitionsOf.add(from.number);
    }
    if (count() === 0) return undefined;
    return { ...batch, partitions: [...partitionsOf], ...(refused.length > 0 ? { refused } : {}) };
  }
}

function sinceOf({ queue }: Partition): number {
  return queue[0]?.since ?? Number.POSITIVE_INFINITY;
}
