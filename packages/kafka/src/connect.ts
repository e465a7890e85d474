import { type Config, readConfig } from '@video-pipeline/config';
import { Kafka as Client, type KafkaConfig, type LogEntry, logLevel } from 'kafkajs';
import { keepBrokerIds } from './broker-names.ts';
import { surviveClockChanges } from './clock.ts';
import { Connections, type KafkaClient } from './connections.ts';
import { keepLargeValues } from './encoder.ts';
import { limitFetches } from './fetch/index.ts';
import { disconnectHungBrokers, REQUEST_TIMEOUT_MS, reconnectWithEmptyBuffers } from './hung-brokers.ts';
import { iamToken, oauthBearer } from './iam.ts';
import { allowLeaderlessPartitions, lookUpMovedLeaders } from './leaderless.ts';
import { askLeaderBeforeReset, joinAgain, leaveForFormerMembers, passOverFollowers } from './membership.ts';
import { showOpenTransactions } from './open-transactions.ts';
import { stopIdleWakeUps } from './request-queue.ts';

surviveClockChanges();
stopIdleWakeUps();
keepLargeValues();
disconnectHungBrokers();
allowLeaderlessPartitions();
lookUpMovedLeaders();
reconnectWithEmptyBuffers();
keepBrokerIds();
limitFetches();
leaveForFormerMembers();
joinAgain();
askLeaderBeforeReset();
passOverFollowers();
showOpenTransactions();

/** Variables that say where Kafka is and how to talk to it. */
export const KAFKA_VARIABLES = ['KAFKA_BOOTSTRAP_SERVERS', 'KAFKA_AUTH', 'AWS_REGION'] as const;
type KafkaSettings = Config<(typeof KAFKA_VARIABLES)[number]>;

/** Short waits: a partition has a leader again within seconds. kafkajs' own waits grow up to 30 s. */
const RETRY = { initialRetryTime: 200, maxRetryTime: 1_000, retries: 8 };

/**
 * Longest TCP or TLS handshake, milliseconds. kafkajs' default of one second is too short for a busy machine or a cold
 * start, and kafkajs does not retry when it looks up a group's coordinator (`findGroupCoordinator`).
 */
const CONNECT_TIMEOUT_MS = 3_000;

/** Makes clients of kafkajs, each with its own connections. Producers: `orderedProducer`, as kafkajs' lose records. */
export type Kafka = Pick<Client, 'admin' | 'consumer'>;

/** Message of the error that ends a send of no records, made to learn a topic's partitions. It is not logged. */
export const NOTHING_TO_SEND = 'there is nothing to send';

/** A logger that receives kafkajs' log entries. */
export interface KafkaLog {
  warn(message: string, extra: Record<string, unknown>): void;
  error(message: string, extra: Record<string, unknown>): void;
}

/**
 * Makes clients for the brokers that the environment names. Nothing is sent before one is used.
 * @example
 * const kafka = connectKafka('people', console);
 * const lags = await withAdmin(kafka, (admin) => consumerLag(admin, 'people', 'detections'));
 */
export function connectKafka(
  clientId: string,
  log: KafkaLog,
  settings: KafkaSettings = readConfig(KAFKA_VARIABLES),
  overrides: Partial<KafkaConfig> = {},
): Kafka {
  const guarded = <Made extends KafkaClient>(make: (client: Client) => Made): Made => {
    const connections = new Connections();
    const client = new Client({
      clientId,
      brokers: settings.KAFKA_BOOTSTRAP_SERVERS.split(','),
      ...security(settings),
      logLevel: logLevel.WARN,
      logCreator: () => (entry) => {
        if (!connections.isClosed) writeEntry(log, entry);
      },
      socketFactory: connections.open,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      retry: RETRY,
      ...overrides,
    });
    return connections.guard(make(client));
  };
  const kafka: Pick<Client, 'admin' | 'consumer' | 'producer'> = {
    admin: (config) => guarded((client) => client.admin(config)),
    consumer: (config) => guarded((client) => client.consumer(config)),
    producer: (config) => guarded((client) => client.producer(config)),
  };
  return kafka;
}

function writeEntry(
  log: KafkaLog,
  { level, log: { message, timestamp: _timestamp, ...extra } }: LogEntry,
): void {
  // A caller that wants few retries from an idempotent producer sends the same records again itself.
  if (message.startsWith('Limiting retries for the idempotent producer') || message === NOTHING_TO_SEND)
    return;
  const write = level === logLevel.ERROR ? 'error' : 'warn';
  log[write](`kafka: ${message}`, { kafka: extra });
}

function security({ KAFKA_AUTH, AWS_REGION }: KafkaSettings): Partial<KafkaConfig> {
  if (KAFKA_AUTH === 'none') return {};
  if (KAFKA_AUTH === 'tls') return { ssl: true };
  return { ssl: true, sasl: oauthBearer(() => iamToken(AWS_REGION)) };
}
