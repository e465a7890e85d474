import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir, writeWhole } from '@video-pipeline/assets';
import type { Config } from '@video-pipeline/config';
import { type Admin, connectKafka, SILENT, withAdmin } from '@video-pipeline/kafka';
import { freePort, type LocalServer, StartError } from '../supervisor/processes.ts';
import { startGuarded } from './guarded.ts';
import {
  installJava,
  JARS,
  type JavaCommand,
  type JavaServerOptions,
  propertiesText,
  SMALL_JVM,
} from './java.ts';
import { sharedClasses } from './shared-classes.ts';

/** 16 bytes. Nodes with the same id form a cluster. */
const CLUSTER_ID = Buffer.from('video-pipeline-1').toString('base64url');

/** Sized for one node with a few streams. */
const JVM = ['-Xms64m', '-Xmx512m', ...SMALL_JVM, '-Djava.awt.headless=true'];

export interface KafkaServer extends LocalServer {
  /** `127.0.0.1:<port>` */
  bootstrap: string;
  /** See {@link sharedClasses}. */
  archived: Promise<void>;
}

/** One node of a cluster: it is a broker and a controller. */
interface ClusterNode {
  /** 1..n */
  id: number;
  /** Ports of all the controllers, by id. */
  controllers: readonly number[];
}

/**
 * Plans a cluster of `nodes` nodes on this machine. All of them must then be started at the same time, by {@link
 * startKafka}.
 * @param firstPort port of the first node; the others get free ones
 */
export async function planCluster(nodes: number, firstPort?: number) {
  const free = () => Promise.all(Array.from({ length: nodes }, freePort));
  const [ports, controllers] = [await free(), await free()];
  if (firstPort) ports[0] = firstPort;
  return ports.map((port, index) => ({
    name: nodeName(index + 1),
    port,
    node: { id: index + 1, controllers } satisfies ClusterNode,
  }));
}

const nodeName = (id: number) => `kafka-${id}`;

interface KafkaOptions extends JavaServerOptions {
  /** Left out: a cluster of this node alone. */
  node?: ClusterNode;
  /** Lines of `server.properties` that are added, or replace ours. */
  settings?: Readonly<Record<string, string>>;
}

/**
 * Starts Apache Kafka as a KRaft node on 127.0.0.1. Its data is in `<dataDir>/kafka`, or in `kafka-<id>` for a node
 * of a cluster. A cluster is ready once more than half of its nodes are up.
 * @throws AssetError, StartError
 * @example
 * const kafka = await startKafka({ dataDir: '.data' });
 */
export async function startKafka(options: KafkaOptions): Promise<KafkaServer> {
  const installed = await installJava('Apache Kafka', JARS.kafka, options.note);
  const { command, env } = installed;
  const { node = { id: 1, controllers: [await freePort()] } } = options;
  const dataDir = resolve(options.dataDir);
  const name = options.node ? nodeName(node.id) : 'kafka';
  const folder = join(dataDir, name);
  await mkdir(folder, { recursive: true });
  const port = options.port || (await freePort());
  const properties = join(folder, 'server.properties');
  const settings = { ...serverSettings(port, node), ...options.settings };
  await writeFile(properties, propertiesText(settings));
  const log4j = join(folder, 'log4j2.properties');
  await writeFile(log4j, logProperties(name));
  const own = [...JVM, `-Dlog4j2.configurationFile=${log4j}`];
  const java = { ...installed, command: [...command, ...own] } satisfies JavaCommand;
  const classes = sharedClasses(installed, folder);
  if (!existsSync(join(folder, 'log', 'meta.properties')))
    await formatOnce(java, properties, node, join(folder, 'log'));
  const bootstrap = `127.0.0.1:${port}`;
  const server = await startGuarded({
    name: options.node ? `Kafka's node ${node.id}` : 'Kafka',
    command: [...java.command, ...classes.flags, 'kafka.Kafka', properties],
    env,
    cwd: folder,
    pidFile: join(dataDir, 'run', `${name}.pid`),
    logFile: join(dataDir, 'logs', `${name}.log`),
    stop: options.stop,
    port,
    // In a cluster, the leader of a partition may be another node that is not up yet.
    isReady: async () => (await answers(bootstrap)) && (options.node !== undefined || serves(bootstrap)),
  });
  const archived = classes.keep(server.exited, options.archiveAfterMs);
  return { bootstrap, archived, ...server };
}

/** Whether a broker at `bootstrap` answers. @param how left out: the settings of the stack's own Kafka */
export function answers(bootstrap: string, how = OURS): Promise<boolean> {
  return holds(bootstrap, async (admin) => (await admin.describeCluster()).brokers.length > 0, how);
}

const OURS: Config<'KAFKA_AUTH' | 'AWS_REGION'> = { KAFKA_AUTH: 'none', AWS_REGION: '' };

/** Whether the broker at `bootstrap` serves all its partitions. After a crash it answers some time before that. */
function serves(bootstrap: string): Promise<boolean> {
  return holds(bootstrap, async (admin) => {
    for (const topic of await admin.listTopics()) await admin.fetchTopicOffsets(topic);
    return true;
  });
}

/** Whether a broker answers a question with yes. No answer counts as no. */
async function holds(
  bootstrap: string,
  question: (admin: Admin) => Promise<boolean>,
  how = OURS,
): Promise<boolean> {
  const settings = { KAFKA_BOOTSTRAP_SERVERS: bootstrap, ...how };
  const kafka = connectKafka('probe', SILENT, settings, { retry: { retries: 0 } });
  return withAdmin(kafka, question).catch(() => false);
}

/**
 * Formats a node's folder, or copies the one that an earlier first start has formatted for the same version and node.
 * The copy saves the start of another JVM, which takes as long as Kafka's own start.
 */
async function formatOnce(
  java: JavaCommand,
  properties: string,
  { id }: ClusterNode,
  log: string,
): Promise<void> {
  const [jar] = JARS.kafka.filter(({ path }) => /\/kafka_2[^/]*\.jar$/.test(path));
  const template = join(cacheDir(), 'kafka-formatted', `${jar?.sha256.slice(0, 12)}-${id}`);
  if (existsSync(template)) {
    await cp(template, log, { recursive: true });
    return;
  }
  await format(java, properties);
  // If the cache can't be written, or another process was faster, only the time of a format is lost.
  await writeWhole(template, (partial) => cp(log, partial, { recursive: true })).catch(() => {});
}

async function format({ command, env }: JavaCommand, properties: string): Promise<void> {
  const [java, ...own] = command;
  const tool = ['kafka.tools.StorageTool', 'format', `--cluster-id=${CLUSTER_ID}`, '--config', properties];
  try {
    await promisify(execFile)(java, [...own, ...tool], { env, cwd: dirname(properties) });
  } catch (cause) {
    throw new StartError(`Kafka can't format ${properties}: ${(cause as Error).message}`, { cause });
  }
}

export function serverSettings(port: number, { id, controllers }: ClusterNode) {
  const controllerPort = controllers[id - 1];
  // Three replicas of which two must be in sync, as on MSK. With fewer nodes, a replica on each.
  const replicas = Math.min(controllers.length, 3);
  const inSync = Math.max(replicas - 1, 1);
  return {
    'process.roles': 'broker,controller',
    'node.id': id,
    'controller.quorum.voters': controllers.map((one, index) => `${index + 1}@127.0.0.1:${one}`).join(),
    'default.replication.factor': replicas,
    'min.insync.replicas': inSync,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    // Relative to the node's folder: this is a list, so a comma in the name of a parent folder would end it.
    'log.dirs': 'log',
    'auto.create.topics.enable': false,
    // A send of 25 frames is one batch.
    'message.max.bytes': 8 * 1024 * 1024,
    // Limited, since S3 keeps the frames.
    'log.retention.bytes': 1024 ** 3,
    'log.retention.hours': 24,
    'log.segment.bytes': 128 * 1024 ** 2,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'transaction.state.log.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
    'group.initial.rebalance.delay.ms': 0,
    'num.network.threads': 2,
    'num.io.threads': 2,
    'background.threads': 2,
    'log.cleaner.dedupe.buffer.size': 16 * 1024 ** 2,
    // An idle controller writes to its log twice a second otherwise, which is half of what an idle node computes.
    'metadata.max.idle.interval.ms': 5_000,
  };
}

/** The path is relative to the node's folder: a `%` in the name of a parent folder would be part of the pattern. */
function logProperties(name: string): string {
  const file = `../logs/${name}.log`;
  return propertiesText({
    'rootLogger.level': 'warn',
    'rootLogger.appenderRefs': 'file',
    'rootLogger.appenderRef.file.ref': 'file',
    appenders: 'file',
    'appender.file.type': 'RollingFile',
    'appender.file.name': 'file',
    'appender.file.fileName': file,
    'appender.file.filePattern': `${file}.%i`,
    'appender.file.layout.type': 'PatternLayout',
    'appender.file.layout.pattern': '%d{ISO8601} %p %m (%c)%n',
    'appender.file.policies.type': 'Policies',
    'appender.file.policies.size.type': 'SizeBasedTriggeringPolicy',
    'appender.file.policies.size.size': '5MB',
    'appender.file.strategy.type': 'DefaultRolloverStrategy',
    'appender.file.strategy.max': '1',
  });
}
