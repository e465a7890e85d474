import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@video-pipeline/config';
import {
  type Admin,
  askGroup,
  connectKafka,
  consumerLag,
  ensureTopics,
  type PartitionLag,
  SILENT,
} from '@video-pipeline/kafka';
import {
  frameStagesOf,
  groupOf,
  type PipelineStage,
  STAGE_VARIABLES,
  stagesOf,
  topicOf,
  topicsOf,
} from '@video-pipeline/stages';
import { sum } from './sum.ts';

export type { PartitionLag } from '@video-pipeline/kafka';

interface Connection {
  admin: Admin;
  connected: Promise<void>;
}

/** Enough partitions that the three demo streams, and most small sets of cameras, don't share one. */
const PARTITIONS = 6;
const POLL_MS = 250;

/** Reads from Kafka how far each stage is. Survives Kafka's restarts. */
export class Backlog {
  readonly topics: readonly string[];
  readonly #config = readConfig(STAGE_VARIABLES);
  /** The stages that frames pass through. */
  readonly frameStages = frameStagesOf(this.#config);
  readonly #bootstrap: string;
  #connection: Connection | undefined;

  /** @param bootstrap `host:port[,host:port...]` */
  constructor(bootstrap: string) {
    this.#bootstrap = bootstrap;
    this.topics = topicsOf(this.#config);
  }

  /**
   * Creates the topics that are missing. It also asks about the groups: this makes the brokers create the topic of
   * offsets, without which no group can be joined.
   */
  async createTopics(): Promise<void> {
    const specs = this.topics.map((topic) => ({ topic, partitions: PARTITIONS }));
    const groups = this.frameStages.map((stage) => this.consumer(stage).group);
    await this.#ask((admin) => Promise.all([ensureTopics(admin, specs), admin.describeGroups(groups)]));
  }

  /** Lag of each stage that frames pass through, in records. */
  async lag(): Promise<Record<string, number>> {
    const lags = this.frameStages.map(async (stage) => {
      const partitions = await this.partitions(stage);
      return [stage.name, sum(partitions.map(({ lag }) => lag))] as const;
    });
    return Object.fromEntries(await Promise.all(lags));
  }

  /** Number of frames that were ever published. */
  async published(): Promise<number> {
    const partitions = await Promise.all(this.frameStages.slice(0, 1).map((stage) => this.partitions(stage)));
    return sum(partitions.flat().map(({ end }) => end));
  }

  /** Resolves when everything published before the call has gone through every stage of frames, or `signal` aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    // In the order of the stages: what one stage has finished is in the topic of the next stage.
    for (const stage of this.frameStages) {
      let targets: Map<number, number> | undefined;
      while (!signal.aborted) {
        // While Kafka is down, only another attempt helps.
        const partitions = await this.partitions(stage).catch(() => undefined);
        targets ??= partitions && new Map(partitions.map(({ partition, end }) => [partition, end]));
        if (partitions?.every(({ partition, committed }) => committed >= (targets?.get(partition) ?? 0)))
          break;
        await sleep(POLL_MS);
      }
    }
  }

  async close(): Promise<void> {
    await this.#connection?.admin.disconnect();
  }

  /** The stages of frames, and the others whose consumer group Kafka knows: they read, or once did. */
  async stages(): Promise<PipelineStage[]> {
    const { groups } = await this.#ask((admin) => admin.listGroups());
    const known = new Set(groups.map(({ groupId }) => groupId));
    return stagesOf(this.#config).filter(
      (stage) => stage.carriesFrames || known.has(this.consumer(stage).group),
    );
  }

  /** How far a stage is on each partition of its topic. */
  partitions(stage: PipelineStage): Promise<PartitionLag[]> {
    const { topic, group } = this.consumer(stage);
    return this.#ask((admin) => consumerLag(admin, group, topic));
  }

  /** Checks that a stage reads. @returns why that is unknown. @throws Error where it does not */
  async askReader(stage: PipelineStage): Promise<string | undefined> {
    return askGroup(this.consumer(stage).group, (question) => this.#ask(question));
  }

  consumer(stage: PipelineStage): { topic: string; group: string } {
    return { topic: topicOf(stage, this.#config), group: groupOf(stage, this.#config) };
  }

  async #ask<T>(question: (admin: Admin) => Promise<T>): Promise<T> {
    this.#connection ??= this.#connect();
    const connection = this.#connection;
    try {
      await connection.connected;
      return await question(connection.admin);
    } catch (error) {
      if (this.#connection === connection) this.#connection = undefined;
      connection.admin.disconnect().catch(() => {});
      throw error;
    }
  }

  #connect(): Connection {
    const settings = {
      ...readConfig(['KAFKA_AUTH', 'AWS_REGION']),
      KAFKA_BOOTSTRAP_SERVERS: this.#bootstrap,
    };
    const admin = connectKafka('video-pipeline-local', SILENT, settings).admin();
    return { admin, connected: admin.connect() };
  }
}
