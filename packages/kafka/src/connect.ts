import { type Config, readConfig } from '@video-pipeline/config';
import { Kafka, type KafkaConfig, logLevel, Partitioners, type Producer } from 'kafkajs';
import { keepLargeValues } from './encoder.ts';
import { iamToken, oauthBearer } from './iam.ts';
import { calmIdleConnections } from './request-queue.ts';

calmIdleConnections();
keepLargeValues();

/** Variables that say where Kafka is and how to talk to it. */
export const KAFKA_VARIABLES = ['KAFKA_BOOTSTRAP_SERVERS', 'KAFKA_AUTH', 'AWS_REGION'] as const;
export type KafkaSettings = Config<(typeof KAFKA_VARIABLES)[number]>;

/** What kafkajs has to say, as a logger of ours takes it. */
export interface KafkaLog {
  warn(message: string, extra: Record<string, unknown>): void;
  error(message: string, extra: Record<string, unknown>): void;
}

/** A kafkajs client for the brokers that the environment names. Nothing is sent before it is used. */
export function connectKafka(
  clientId: string,
  log: KafkaLog,
  settings: KafkaSettings = readConfig(KAFKA_VARIABLES),
  overrides: Partial<KafkaConfig> = {},
): Kafka {
  return new Kafka({
    clientId,
    brokers: settings.KAFKA_BOOTSTRAP_SERVERS.split(','),
    ...security(settings),
    logLevel: logLevel.WARN,
    logCreator: () => (entry) => {
      const { message, timestamp: _timestamp, ...extra } = entry.log;
      // Who asks for an idempotent producer with few retries sends the same records again by itself.
      if (message.startsWith('Limiting retries for the idempotent producer')) return;
      const write = entry.level === logLevel.ERROR ? 'error' : 'warn';
      log[write](`kafka: ${message}`, { kafka: extra });
    },
    ...overrides,
  });
}

function security({ KAFKA_AUTH, AWS_REGION }: KafkaSettings): Partial<KafkaConfig> {
  if (KAFKA_AUTH === 'none') return {};
  if (KAFKA_AUTH === 'tls') return { ssl: true };
  return { ssl: true, sasl: oauthBearer(() => iamToken(AWS_REGION)) };
}

/**
 * A producer that puts records of one key on one partition, as every other Kafka client does (murmur2), with at
 * most one request in flight so that a retry can't change their order.
 * @param options.idempotent the broker stores once what is sent again after a lost answer. Only for those who send the
 * very same records until they are through: kafkajs gives the next records the sequence numbers of what failed, and
 * the broker would take those for what it has.
 */
export function orderedProducer(kafka: Kafka, options: { idempotent?: boolean } = {}): Producer {
  return kafka.producer({
    ...options,
    createPartitioner: Partitioners.DefaultPartitioner,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
  });
}
