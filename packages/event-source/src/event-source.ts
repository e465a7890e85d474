import { setTimeout as sleep } from 'node:timers/promises';
import { toLambdaRecord } from '@video-pipeline/frame';
import {
  type Consumer,
  type ConsumerCommitOffsetsEvent,
  type ConsumerGroupJoinEvent,
  type EachBatchPayload,
  type Kafka,
  MAX_EVENT_BYTES,
  MAX_MESSAGE_BYTES,
  noteFormerMember,
  refusalOf,
} from '@video-pipeline/kafka';
import type { Logger } from '@video-pipeline/telemetry';
import { type Batch, RecordBatcher } from './batcher.ts';
import { type DeliveryOptions, deliver } from './delivery.ts';

/** Most bytes of an event besides its records: names, ARN, brokers. */
const ENVELOPE_BYTES = 1024;
const MAX_BYTES = MAX_EVENT_BYTES - ENVELOPE_BYTES;

/** How long a stop waits for invocations that run, and then for the group to be left, milliseconds. */
const DRAIN_MS = 2_400;
const LEAVE_MS = 800;

/** Wait before a failed commit is tried again, milliseconds. */
const COMMIT_RETRY_MS = 1_000;

/**
 * How often the brokers are asked again, and after how long. It applies to the client as a whole: kafkajs' default
 * waits up to 30 s, long after a broker is back.
 */
export const KAFKA_RETRY = { initialRetryTime: 200, maxRetryTime: 3_000, retries: 8 } as const;

/**
 * Short waits, since frames are awaited. The broker keeps a member that ended without leaving for `sessionTimeout`; 6 s
 * is the shortest that brokers accept by default. If a member was killed here, the next process tells the broker first.
 */
const CONSUMER = {
  sessionTimeout: 6_000,
  heartbeatInterval: 1_500,
  rebalanceTimeout: 10_000,
  minBytes: 1,
  maxWaitTimeInMs: 200,
  // A broker leaves out a larger batch as long as an earlier partition has records.
  maxBytesPerPartition: MAX_MESSAGE_BYTES + 1024 * 1024,
  allowAutoTopicCreation: false,
  // Longest wait before added partitions are read.
  metadataMaxAge: 30_000,
  retry: KAFKA_RETRY,
} as const;

interface EventSourceOptions extends Omit<DeliveryOptions, 'maxBytes' | 'signal' | 'wait' | 'lastGood'> {
  kafka: Kafka;
  topic: string;
  groupId: string;
  /** Rack whose brokers are read from, where they have a replica. Left out, the partitions' leaders are. */
  rack?: string | undefined;
  /** Records in one invocation, at most. */
  batchSize: number;
  /** Longest wait for a batch to fill, milliseconds. */
  windowMs: number;
  /** Invocations at the same time, at most, each with partitions of its own. */
  concurrency: number;
  logger: Pick<Logger, 'warn' | 'info'>;
  /** Called when the consumer ended for a reason that it can't overcome. */
  onCrash(error: Error): void;
}

export interface EventSource {
  /** Lets running invocations finish (2.4 s at most), commits their offsets and leaves the group. */
  stop(): Promise<void>;
}

/**
 * Reads a topic and invokes a handler with its records in this process, as an Amazon MSK event-source mapping does:
 * with the same events, the same batches, order per partition, and retries of the whole batch. Offsets are committed
 * only after success.
 * Resolves once the group is joined.
 * @throws when no broker answers, or the topic is not there
 * @example
 * const limits = { functionName: 'people', timeoutMs: 60_000, batchSize: 25, windowMs: 5_000, concurrency: 4 };
 * const reads = { kafka, topic: 'detections', groupId: 'people', source, handler };
 * const poller = await startEventSource({ ...reads, ...limits, onTooLarge, onCrash, logger });
 * await poller.stop();
 */
export async function startEventSource(options: EventSourceOptions): Promise<EventSource> {
  const { groupId, rack: rackId = '' } = options;
  for (const member of options.inFlight?.formerMembers ?? []) noteFormerMember(groupId, member);
  const consumer = options.kafka.consumer({ groupId, rackId, ...CONSUMER });
  const source = new Poller(options, consumer);
  await consumer.connect();
  await consumer.subscribe({ topic: options.topic, fromBeginning: true }).catch((cause) => {
    throw new Error(`topic '${options.topic}': ${cause.message}`, { cause });
  });
  await source.run();
  return source;
}

/** Fetches ahead into the batcher while batches are delivered. */
class Poller implements EventSource {
  readonly #options: EventSourceOptions;
  readonly #consumer: Consumer;
  readonly #batcher: RecordBatcher;
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<void>>();
  /** Makes kafkajs fetch a partition again. */
  readonly #paused = new Map<number, () => void>();
  /**
   * For each assigned partition, the number of the group join that assigned it. A partition that was revoked and
   * assigned again has a new number: work that began before must not be committed.
   */
  #assignments = new Map<number, number>();
  #joins = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The first batch is delivered at once: after a start, everything waits for it. */
  #hasDelivered = false;
  /** For each assigned partition, the offset up to which all is done, until a broker has accepted its commit. */
  readonly #uncommitted = new Map<number, number>();
  #commitTimer: NodeJS.Timeout | undefined;
  /** The commit that runs, and the one that begins after it. */
  #commitNow: Promise<void> = Promise.resolve();
  #commitNext: Promise<void> | undefined;
  readonly #lastGood = {};

  constructor(options: EventSourceOptions, consumer: Consumer) {
    this.#options = options;
    this.#consumer = consumer;
    const { batchSize, windowMs } = options;
    this.#batcher = new RecordBatcher({ maxRecords: batchSize, windowMs, maxBytes: MAX_BYTES });
  }

  async run(): Promise<void> {
    const { GROUP_JOIN, COMMIT_OFFSETS, CRASH, END_BATCH_PROCESS } = this.#consumer.events;
    const joined = new Promise<void>((resolve) => {
      this.#consumer.on(GROUP_JOIN, ({ payload }) => {
        this.#assign(payload);
        resolve();
      });
    });
    this.#consumer.on(COMMIT_OFFSETS, ({ payload }) => this.#forgetCommitted(payload));
    // kafkajs sends this event also for batches without records to deliver.
    this.#consumer.on(END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
      const end = Number(lastOffset) + 1;
      if (!this.#batcher.passTo(partition, end)) return;
      this.#uncommitted.set(partition, end);
      void this.#commit();
    });
    this.#consumer.on(CRASH, ({ payload: { error, restart } }) => {
      if (!restart && !this.#stopping.signal.aborted) this.#options.onCrash(error);
    });
    await this.#consumer.run({ autoCommit: false, eachBatch: async (payload) => this.#receive(payload) });
    await joined;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#options.inFlight?.close();
    clearTimeout(this.#timer);
    clearTimeout(this.#commitTimer);
    await Promise.race([Promise.allSettled(this.#running), sleep(DRAIN_MS, undefined, { ref: false })]);
    await Promise.race([this.#consumer.disconnect(), sleep(LEAVE_MS, undefined, { ref: false })]);
  }

  #assign({ memberAssignment, memberId }: ConsumerGroupJoinEvent['payload']): void {
    this.#options.inFlight?.joinAs(memberId);
    const partitions = memberAssignment[this.#options.topic] ?? [];
    this.#joins++;
    this.#assignments = new Map(partitions.map((one) => [one, this.#assignments.get(one) ?? this.#joins]));
    this.#batcher.assign(partitions);
    for (const [one] of this.#uncommitted) if (!this.#assignments.has(one)) this.#uncommitted.delete(one);
    this.#resumeFetching();
    this.#options.logger.info(`${this.#options.groupId} reads ${this.#options.topic}`, { partitions });
  }

  /** Only buffers, so that kafkajs goes on fetching and sending heartbeats while the handler works. */
  #receive({ batch, pause }: EachBatchPayload): void {
    const { topic, partition } = batch;
    const now = performance.now();
    // A topic that was deleted and created again counts from 0.
    if (Number(batch.highWatermark) < this.#batcher.nextOffset(partition)) {
      this.#batcher.reset(partition);
      this.#uncommitted.delete(partition);
    }
    for (const message of batch.messages) {
      const position = { topic, partition, offset: message.offset, timestamp: Number(message.timestamp) };
      this.#batcher.add(toLambdaRecord(position, message), now, refusalOf(message));
    }
    if (this.#batcher.hasEnough(partition)) this.#paused.set(partition, pause());
    this.#pump();
  }

  /** Delivers closed batches, as many as may run at once, and sets a timer for the next one that closes by its age. */
  #pump(): void {
    clearTimeout(this.#timer);
    if (this.#stopping.signal.aborted) return;
    while (this.#running.size < this.#concurrency) {
      const batch = this.#batcher.take(this.#hasDelivered ? performance.now() : Number.POSITIVE_INFINITY);
      if (!batch) break;
      this.#hasDelivered = true;
      const work = this.#deliver(batch).finally(() => {
        this.#running.delete(work);
        this.#pump();
      });
      this.#running.add(work);
    }
    this.#resumeFetching();
    const due = this.#batcher.dueAt();
    if (due !== undefined && this.#running.size < this.#concurrency) {
      this.#timer = setTimeout(() => this.#pump(), Math.max(0, due - performance.now()));
    }
  }

  get #concurrency(): number {
    return this.#options.inFlight?.isOneByOne ? 1 : this.#options.concurrency;
  }

  #resumeFetching(): void {
    for (const [partition, resume] of this.#paused) {
      if (this.#batcher.hasEnough(partition)) continue;
      this.#paused.delete(partition);
      resume();
    }
  }

  async #deliver(batch: Batch): Promise<void> {
    const assignments = this.#assignments;
    const ours = () => batch.partitions.filter((one) => this.#assignments.get(one) === assignments.get(one));
    const lastGood = this.#lastGood;
    const options = { ...this.#options, maxBytes: MAX_BYTES, signal: this.#stopping.signal, lastGood };
    if (await deliver(batch, options, () => ours().length > 0)) {
      for (const partition of ours()) this.#uncommitted.set(partition, this.#batcher.endOf(partition));
      await this.#commit();
    }
    this.#batcher.release(batch);
  }

  /**
   * Commits what is done, one commit after another: kafkajs tries a commit again with the same offsets, and so would
   * overwrite those of a later one.
   */
  #commit(): Promise<void> {
    this.#commitNext ??= this.#commitNow.then(() => {
      this.#commitNext = undefined;
      this.#commitNow = this.#commitOnce();
      return this.#commitNow;
    });
    return this.#commitNext;
  }

  /** Tries until a broker has accepted the offsets, since these records are not delivered again. */
  async #commitOnce(): Promise<void> {
    if (this.#uncommitted.size === 0) return;
    const { topic, logger } = this.#options;
    try {
      await this.#consumer.commitOffsets(
        Array.from(this.#uncommitted, ([partition, end]) => ({ topic, partition, offset: String(end) })),
      );
    } catch (error) {
      logger.warn('offsets not committed', error as Error);
    }
    // The commit is tried again even without an error: outside the group, kafkajs silently skips it.
    if (this.#uncommitted.size === 0 || this.#stopping.signal.aborted) return;
    clearTimeout(this.#commitTimer);
    this.#commitTimer = setTimeout(() => void this.#commit(), COMMIT_RETRY_MS);
  }

  #forgetCommitted({ topics }: ConsumerCommitOffsetsEvent['payload']): void {
    for (const { partition, offset } of topics.flatMap(({ partitions }) => partitions)) {
      // The log was cut before an offset that was read: what comes next may have offsets of records that are gone.
      const isReset = Number(offset) < 0;
      if (isReset) this.#batcher.reset(partition);
      if (isReset || this.#uncommitted.get(partition) === Number(offset)) this.#uncommitted.delete(partition);
    }
  }
}
