import {
  type Producer as Client,
  type Message,
  type PartitionerArgs,
  Partitioners,
  type RecordMetadata,
  type Kafka as WholeKafka,
} from 'kafkajs';
import type { Kafka } from './connect.ts';

/** Kafka has not confirmed records. They may be there nevertheless; sending them again may help. */
export class UnconfirmedError extends Error {
  override readonly name = 'UnconfirmedError';
}

/** What goes to a topic at once. */
export interface Records {
  topic: string;
  messages: Message[];
  /** Never less than every in-sync replica. */
  acks?: -1;
}

/** Sends records, and knows for each whether Kafka has it. */
export interface Producer {
  /** Else the first send connects. */
  connect(): Promise<void>;
  /**
   * Resolves once every in-sync replica has all the records, those of one key in their order. Called again with the very
   * same array, it sends what is not confirmed yet, to the same partitions.
   * @returns one confirmation for each batch of a partition
   * @throws what kafkajs throws, UnconfirmedError; other partitions' records may be through
   */
  send(records: Records): Promise<RecordMetadata[]>;
  disconnect(): Promise<void>;
}

/**
 * A producer that puts records of one key on one partition, as every other Kafka client does (murmur2). Who waits for a
 * send before the next one keeps the order of a key, whatever has to be sent again.
 * @param options.idempotent the broker stores once what is sent again after a lost answer. Only for those who send one
 * array at a time, and the very same until it is through: kafkajs gives the next records the sequence numbers of what
 * failed, and the broker would take those for what it has.
 */
export function orderedProducer(kafka: Kafka, options: { idempotent?: boolean } = {}): Producer {
  return new OrderedProducer(kafka, options);
}

/**
 * kafkajs 2.2.4 loses records when a leader moves: one `send` goes to the leaders of many partitions, and when it is tried
 * again since one of them was not the leader any more, no broker that has answered is asked again, whatever it leads by
 * now (tulios/kafkajs#1798). It also resolves without a word when it takes a broker for another one, or lacks a partition.
 * Here each of its sends is for one partition, with one leader, and counts when the answer is for that partition and bears
 * no error. A client that gives no such answer knows the cluster wrongly, and is replaced.
 */
class OrderedProducer implements Producer {
  readonly #create: () => Client;
  #client: Client;
  readonly #choose = Partitioners.DefaultPartitioner();
  /** What kafkajs knew of a topic's partitions when it last asked where a record goes. */
  readonly #partitions = new Map<string, PartitionerArgs['partitionMetadata']>();
  /** What is left to send of an array of which a part failed, by partition. */
  readonly #left = new WeakMap<Message[], Map<number, Message[]>>();
  /** The same, where the partitions are to be chosen anew. */
  readonly #unplaced = new WeakMap<Message[], Message[]>();
  #connected: Promise<void> | undefined;

  constructor(kafka: Kafka, options: { idempotent?: boolean }) {
    this.#create = () =>
      (kafka as Pick<WholeKafka, 'producer'> & Kafka).producer({
        ...options,
        createPartitioner: () => (args) => this.#place(args),
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
    try {
      return await this.#sendLeft(topic, messages);
    } catch (error) {
      this.#connected = undefined;
      if (error instanceof UnconfirmedError) this.#beginAnew(messages);
      throw error;
    }
  }

  async disconnect(): Promise<void> {
    this.#connected = undefined;
    await this.#client.disconnect();
  }

  #beginAnew(messages: Message[]): void {
    void this.#client.disconnect().catch(() => {});
    this.#client = this.#create();
    this.#partitions.clear();
    const left = this.#left.get(messages);
    this.#left.delete(messages);
    if (left) this.#unplaced.set(messages, [...left.values()].flat());
  }

  async #sendLeft(topic: string, messages: Message[]): Promise<RecordMetadata[]> {
    const confirmed: RecordMetadata[] = [];
    // kafkajs tells of a topic's partitions when it asks where a record goes, and not before: the first goes alone.
    const isKnown = this.#partitions.has(topic);
    const all = this.#unplaced.get(messages) ?? messages;
    if (!isKnown) confirmed.push(await this.#sendBatch(topic, all.slice(0, 1)));
    const left = this.#left.get(messages) ?? this.#byPartition(topic, isKnown ? all : all.slice(1));
    this.#left.set(messages, left);
    const sends = Array.from(left, async ([partition, batch]) => {
      confirmed.push(await this.#sendBatch(topic, batch, partition));
      left.delete(partition);
    });
    await Promise.allSettled(sends);
    await Promise.all(sends);
    this.#left.delete(messages);
    this.#unplaced.delete(messages);
    return confirmed;
  }

  #byPartition(topic: string, messages: readonly Message[]): Map<number, Message[]> {
    const partitionMetadata = this.#partitions.get(topic) ?? [];
    return Map.groupBy(messages, (message) => this.#choose({ topic, partitionMetadata, message }));
  }

  #place({ topic, partitionMetadata, message }: PartitionerArgs): number {
    this.#partitions.set(topic, partitionMetadata);
    // It stays where it is: it may be there already, and lack only the answer.
    message.partition ??= this.#choose({ topic, partitionMetadata, message });
    return message.partition;
  }

  /** @param partition left out for a single message: where kafkajs puts it */
  async #sendBatch(topic: string, batch: readonly Message[], partition?: number): Promise<RecordMetadata> {
    const messages = batch.map((one) => (partition === undefined ? { ...one } : { ...one, partition }));
    const answers = await this.#client.send({ topic, acks: -1, messages });
    const [answer, ...others] = answers;
    const wanted = messages[0]?.partition;
    const isOurs = answer?.topicName === topic && answer.partition === wanted && answer.errorCode === 0;
    if (isOurs && others.length === 0) return answer;
    const said = JSON.stringify(answers);
    throw new UnconfirmedError(`${topic}-${wanted}: no broker confirms ${messages.length} records: ${said}`);
  }
}
