import {
  type Producer as Client,
  type Message,
  type PartitionerArgs,
  Partitioners,
  type RecordMetadata,
  type Kafka as WholeKafka,
} from 'kafkajs';
import { type Kafka, NOTHING_TO_SEND } from './connect.ts';
import { brokersIn } from './rack.ts';

/** Kafka has not confirmed records. They may be stored nevertheless. Sending them again may help. */
class UnconfirmedError extends Error {
  override readonly name = 'UnconfirmedError';
}

/** Kafka refuses records that are too large even alone. All other records of the same send are stored. */
export class TooLargeError extends Error {
  override readonly name = 'TooLargeError';
  readonly records: readonly Message[];

  constructor(topic: string, records: readonly Message[]) {
    const named = records.map(({ key, value }) => `'${key}' of ${value?.length ?? 0} bytes`);
    super(`${topic}: the brokers refuse records that are larger than max.message.bytes: ${named.join(', ')}`);
    this.records = records;
  }
}

/** Records of one send to a topic. */
export interface Records {
  topic: string;
  messages: Message[];
}

/** Sends records, and knows for each whether Kafka has it. */
export interface Producer {
  /** Optional: otherwise the first send connects. */
  connect(): Promise<void>;
  /**
   * Resolves once every in-sync replica has all the records, those of one key in their order. When it is called again
   * with the same array, it sends what is not confirmed yet, to the same partitions.
   * @returns one confirmation for each batch of a partition
   * @throws TooLargeError once all others are stored; UnconfirmedError and kafkajs' errors, while some may be stored
   */
  send(records: Records): Promise<RecordMetadata[]>;
  /** The partition that records of a key go to; undefined before the first send to the topic. */
  partitionOf(topic: string, key: string): number | undefined;
  disconnect(): Promise<void>;
}

/**
 * A producer that puts records of one key on one partition, as Kafka's Java client does (murmur2). A caller that
 * waits for each send before the next one keeps the order of a key, even when records are sent again.
 * @param options.idempotent the broker stores a record once, even if it is sent again after a lost answer. A caller
 * must send a failed array again until it succeeds: otherwise kafkajs gives its sequence numbers to other records, and
 * the broker drops those as duplicates. Meanwhile other arrays for the same partition wait.
 * @param options.rack limits the choice to partitions whose preferred leader is in this rack. The choice stays when the
 * leader moves. A producer in another rack chooses other partitions for the same keys.
 * @example
 * const producer = orderedProducer(connectKafka('replay', console), { idempotent: true });
 * await producer.connect();
 * await producer.send({ topic: 'video-frames', messages: frames.map(encodeFrame) });
 */
export function orderedProducer(kafka: Kafka, options: ProducerOptions = {}): Producer {
  return new OrderedProducer(kafka, options);
}

interface ProducerOptions {
  idempotent?: boolean;
  rack?: string | undefined;
}

/** A placeholder for a record that is not sent: kafkajs only asks for its partition. */
const NONE: Message = { value: null };
const TOO_LARGE = /MESSAGE_TOO_LARGE|RECORD_LIST_TOO_LARGE/;

/** Once a producer gets such an error, it gets it for ever: the broker has lost, or ended, its sequence. */
const SEQUENCE_LOST = /OUT_OF_ORDER_SEQUENCE_NUMBER|UNKNOWN_PRODUCER_ID|INVALID_PRODUCER_EPOCH/;

/** Kafka's name of an error. */
function typeOf(error: unknown): string {
  return (error as { type?: string }).type ?? '';
}

/**
 * kafkajs 2.2.4 loses records when a leader moves. One `send` goes to the leaders of many partitions. When one of these
 * brokers is no leader any more, the send is tried again, but no broker that has answered is asked again, whatever it
 * leads by now (tulios/kafkajs#1798). A send also resolves without an error when kafkajs takes a broker for another
 * one, or misses a partition. Here each send of kafkajs is for one partition, with one leader. It counts only if the
 * answer is for that partition and holds no error. A client without such an answer has a wrong view of the cluster, and
 * is replaced. So is a client whose sequence is lost.
 */
class OrderedProducer implements Producer {
  readonly #create: () => Client;
  #client: Client;
  readonly #hash = Partitioners.DefaultPartitioner();
  /** Finds the brokers in the rack of this process. Left out: all brokers are equally near. */
  readonly #findNear: (() => Promise<ReadonlySet<number>>) | undefined;
  #near: ReadonlySet<number> | undefined;
  /** Metadata of a topic's partitions, from kafkajs' last call of the partitioner. */
  readonly #partitions = new Map<string, PartitionerArgs['partitionMetadata']>();
  /** The rest of an array that was sent in part, by partition. */
  readonly #remaining = new WeakMap<Message[], Map<number, Message[]>>();
  /** Records of an array that are too large. */
  readonly #refused = new WeakMap<Message[], Message[]>();
  /** The rest of an array whose partitions must be chosen again. */
  readonly #unplaced = new WeakMap<Message[], Message[]>();
  #connected: Promise<void> | undefined;
  readonly #isIdempotent: boolean;
  /** By partition, the array that may be stored there in part: only the same array may be sent there next. */
  readonly #inDoubt = new Map<string, { messages: Message[]; ended: PromiseWithResolvers<void> }>();

  constructor(kafka: Kafka, { idempotent = false, rack }: ProducerOptions) {
    this.#isIdempotent = idempotent;
    if (rack) this.#findNear = () => brokersIn(kafka, rack);
    this.#create = () =>
      (kafka as Pick<WholeKafka, 'producer'> & Kafka).producer({
        idempotent,
        createPartitioner: () => (args) => this.#choosePartition(args),
        allowAutoTopicCreation: false,
      });
    this.#client = this.#create();
  }

  async connect(): Promise<void> {
    this.#connected ??= this.#client.connect();
    try {
      await this.#connected;
    } catch (error) {
      this.#connected = undefined;
      throw error;
    }
  }

  async send({ topic, messages }: Records): Promise<RecordMetadata[]> {
    if (messages.length === 0) return [];
    await this.connect();
    const client = this.#client;
    try {
      return await this.#sendLeft(topic, messages);
    } catch (error) {
      this.#connected = undefined;
      if (error instanceof UnconfirmedError || SEQUENCE_LOST.test(typeOf(error)))
        this.#beginAnew(client, messages);
      throw error;
    }
  }

  partitionOf(topic: string, key: string): number | undefined {
    const partitionMetadata = this.#partitions.get(topic);
    return partitionMetadata && this.#choose({ topic, partitionMetadata, message: { key, value: null } });
  }

  async disconnect(): Promise<void> {
    this.#connected = undefined;
    await this.#client.disconnect();
  }

  #beginAnew(client: Client, messages: Message[]): void {
    // Another send may have replaced the client already.
    if (client === this.#client) {
      void client.disconnect().catch(() => {});
      this.#client = this.#create();
      for (const [partition, { messages }] of this.#inDoubt) this.#settle(partition, messages);
    }
    const remaining = this.#remaining.get(messages);
    this.#remaining.delete(messages);
    if (remaining) this.#unplaced.set(messages, [...remaining.values()].flat());
  }

  async #sendLeft(topic: string, messages: Message[]): Promise<RecordMetadata[]> {
    await this.#learnPartitions(topic);
    const remaining =
      this.#remaining.get(messages) ?? this.#byPartition(topic, this.#unplaced.get(messages) ?? messages);
    this.#remaining.set(messages, remaining);
    // In the same order for all sends, and before anything is sent: otherwise two sends could wait for each other for
    // ever.
    for (const partition of [...remaining.keys()].sort((one, other) => one - other))
      await this.#claim(`${topic}-${partition}`, messages);
    const confirmed: RecordMetadata[] = [];
    const sends = Array.from(remaining, async ([partition, batch]) => {
      confirmed.push(...(await this.#sendPieces(topic, batch, partition, messages)));
      this.#settle(`${topic}-${partition}`, messages);
      remaining.delete(partition);
    });
    await Promise.allSettled(sends);
    await Promise.all(sends);
    this.#remaining.delete(messages);
    this.#unplaced.delete(messages);
    const refused = this.#refused.get(messages);
    this.#refused.delete(messages);
    if (refused) throw new TooLargeError(topic, refused);
    return confirmed;
  }

  #choose(args: PartitionerArgs): number {
    const { partitionMetadata } = args;
    // The preferred leader is the first replica.
    const near = partitionMetadata.filter(({ replicas: [first] }) => this.#near?.has(first ?? -1));
    if (near.length === 0 || args.message.partition !== undefined) return this.#hash(args);
    near.sort((one, other) => one.partitionId - other.partitionId);
    const index = this.#hash({ ...args, partitionMetadata: near });
    return near[index]?.partitionId ?? index;
  }

  /** kafkajs shows a topic's partitions only to its partitioner: a send of no record makes kafkajs call it. */
  async #learnPartitions(topic: string): Promise<void> {
    if (this.#partitions.has(topic)) return;
    this.#near ??= await this.#findNear?.();
    await this.#client.send({ topic, acks: -1, messages: [NONE] }).catch((error) => {
      if (!this.#partitions.has(topic)) throw error;
    });
  }

  /** Sends a batch of a partition, in parts if it is too large. Removes records that are stored or refused from it. */
  async #sendPieces(topic: string, batch: Message[], partition: number, messages: Message[]) {
    const confirmed: RecordMetadata[] = [];
    for (let size = batch.length; batch.length > 0; size = Math.min(size, batch.length)) {
      try {
        confirmed.push(await this.#sendBatch(topic, batch.slice(0, size), partition));
        batch.splice(0, size);
      } catch (error) {
        if (!TOO_LARGE.test(typeOf(error))) throw error;
        const refused = this.#refused.get(messages) ?? [];
        if (size === 1) this.#refused.set(messages, [...refused, ...batch.splice(0, 1)]);
        size = Math.max(1, size >> 1);
      }
    }
    return confirmed;
  }

  /** Waits until no other array is in doubt on a partition. */
  async #claim(partition: string, messages: Message[]): Promise<void> {
    if (!this.#isIdempotent) return;
    for (let other = this.#inDoubt.get(partition); other; other = this.#inDoubt.get(partition)) {
      if (other.messages === messages) return;
      await other.ended.promise;
    }
    this.#inDoubt.set(partition, { messages, ended: Promise.withResolvers() });
  }

  #settle(partition: string, messages: Message[]): void {
    const known = this.#inDoubt.get(partition);
    if (known?.messages !== messages) return;
    this.#inDoubt.delete(partition);
    known.ended.resolve();
  }

  #byPartition(topic: string, messages: readonly Message[]): Map<number, Message[]> {
    const partitionMetadata = this.#partitions.get(topic) ?? [];
    return Map.groupBy(messages, (message) => this.#choose({ topic, partitionMetadata, message }));
  }

  #choosePartition({ topic, partitionMetadata, message }: PartitionerArgs): number {
    this.#partitions.set(topic, partitionMetadata);
    if (message === NONE) throw new Error(NOTHING_TO_SEND);
    // A record stays on its partition: it may be stored there already, with only the answer lost.
    message.partition ??= this.#choose({ topic, partitionMetadata, message });
    return message.partition;
  }

  async #sendBatch(topic: string, batch: readonly Message[], partition: number): Promise<RecordMetadata> {
    const messages = batch.map((one) => ({ ...one, partition }));
    const answers = await this.#client.send({ topic, acks: -1, messages });
    const [answer, ...others] = answers;
    const isOurs = answer?.topicName === topic && answer.partition === partition && answer.errorCode === 0;
    if (isOurs && others.length === 0) return answer;
    const text = JSON.stringify(answers);
    throw new UnconfirmedError(
      `${topic}-${partition}: no broker confirms ${messages.length} records: ${text}`,
    );
  }
}
