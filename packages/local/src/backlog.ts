import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@video-pipeline/config';
import { connectKafka, consumerLag, ensureTopics, type PartitionLag } from '@video-pipeline/kafka';

export type { PartitionLag } from '@video-pipeline/kafka';

/** A stage that reads a topic as a consumer group. */
export type Consumer = 'detect' | 'annotate';

type Admin = ReturnType<ReturnType<typeof connectKafka>['admin']>;

/** So many that the three demo streams, and most small sets of cameras, don't share one. */
const PARTITIONS = 6;
const POLL_MS = 250;

/** Looks at Kafka from outside: how far each stage has come. Survives Kafka's restarts. */
export class Backlog {
  readonly consumers: Record<Consumer, { topic: string; group: string }>;
  /** What reads of events; nothing of ours waits for it. */
  readonly listeners: Record<'notify' | 'clip', { topic: string; group: string }>;
  readonly #bootstrap: string;
  #admin: Promise<Admin> | undefined;

  /** @param bootstrap `host:port[,host:port...]` */
  constructor(bootstrap: string) {
    const config = readConfig([
      'KAFKA_TOPIC',
      'KAFKA_DETECTIONS_TOPIC',
      'KAFKA_EVENTS_TOPIC',
      'KAFKA_GROUP_ID',
    ]);
    this.#bootstrap = bootstrap;
    this.consumers = {
      detect: { topic: config.KAFKA_TOPIC, group: config.KAFKA_GROUP_ID },
      annotate: { topic: config.KAFKA_DETECTIONS_TOPIC, group: `${config.KAFKA_GROUP_ID}-annotate` },
    };
    const listener = (name: string) => ({
      topic: config.KAFKA_EVENTS_TOPIC,
      group: `${config.KAFKA_GROUP_ID}-${name}`,
    });
    this.listeners = { notify: listener('notify'), clip: listener('clip') };
  }

  async createTopics(): Promise<void> {
    const read = [...Object.values(this.consumers), this.listeners.notify];
    const specs = read.map(({ topic }) => ({ topic, partitions: PARTITIONS }));
    await this.#ask((admin) => ensureTopics(admin, specs));
  }

  /** Records each stage has yet to finish. */
  async lag(): Promise<Record<Consumer, number>> {
    const [detect, annotate] = await Promise.all([this.partitions('detect'), this.partitions('annotate')]);
    return { detect: sum(detect.map(({ lag }) => lag)), annotate: sum(annotate.map(({ lag }) => lag)) };
  }

  /** Records ever published for a stage. */
  async published(consumer: Consumer): Promise<number> {
    return sum((await this.partitions(consumer)).map(({ end }) => end));
  }

  /** Resolves when everything published before the call has gone through both stages, or `signal` aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    // In this order: what detect has finished then stands in the other topic.
    for (const consumer of ['detect', 'annotate'] as const) {
      let targets: Map<number, number> | undefined;
      while (!signal.aborted) {
        // While Kafka is down there is nothing to do but ask again.
        const partitions = await this.partitions(consumer).catch(() => undefined);
        targets ??= partitions && new Map(partitions.map(({ partition, end }) => [partition, end]));
        if (partitions?.every(({ partition, committed }) => committed >= (targets?.get(partition) ?? 0)))
          break;
        await sleep(POLL_MS);
      }
    }
  }

  async close(): Promise<void> {
    await (await this.#admin?.catch(() => undefined))?.disconnect();
  }

  /** How far a stage is on each partition of its topic. */
  partitions(consumer: Consumer): Promise<PartitionLag[]> {
    const { topic, group } = this.consumers[consumer];
    return this.#ask((admin) => consumerLag(admin, group, topic));
  }

  async #ask<T>(question: (admin: Admin) => Promise<T>): Promise<T> {
    this.#admin ??= this.#connect();
    const asked = this.#admin;
    try {
      return await question(await asked);
    } catch (error) {
      if (this.#admin === asked) this.#admin = undefined;
      asked.then((admin) => admin.disconnect()).catch(() => {});
      throw error;
    }
  }

  async #connect(): Promise<Admin> {
    const quiet = { warn() {}, error() {} }; // the screen tells when Kafka is gone
    const settings = {
      ...readConfig(['KAFKA_AUTH', 'AWS_REGION']),
      KAFKA_BOOTSTRAP_SERVERS: this.#bootstrap,
    };
    const admin = connectKafka('video-pipeline-local', quiet, settings).admin();
    await admin.connect();
    return admin;
  }
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
