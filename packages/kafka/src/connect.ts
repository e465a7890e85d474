import { type Config, readConfig } from '@video-pipeline/config';
import { Kafka as Client, type KafkaConfig, logLevel } from 'kafkajs';
import { keepLargeValues } from './encoder.ts';
import { boundFetches } from './fetch/index.ts';
import { iamToken, oauthBearer } from './iam.ts';
import { calmIdleConnections } from './request-queue.ts';

calmIdleConnections();
keepLargeValues();
boundFetches();

/** Variables that say where Kafka is and how to talk to it. */
export const KAFKA_VARIABLES = ['KAFKA_BOOTSTRAP_SERVERS', 'KAFKA_AUTH', 'AWS_REGION'] as const;
export type KafkaSettings = Config<(typeof KAFKA_VARIABLES)[number]>;

/** A kafkajs client. Its own producer loses records: `orderedProducer` takes its place. */
export type Kafka = Omit<Client, 'producer'>;

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
  return new Client({
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
