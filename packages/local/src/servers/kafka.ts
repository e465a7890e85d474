import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { type Admin, connectKafka, SILENT, withAdmin } from '@video-pipeline/kafka';
import { freePort, type LocalServer, StartError } from '../supervisor/processes.ts';
import { startGuarded } from './guarded.ts';
import { installJava, JARS, type JavaCommand, propertiesText } from './java.ts';
import { sharedClasses } from './shared-classes.ts';

/** 16 bytes: nodes form a cluster when theirs is the same. */
const CLUSTER_ID = Buffer.from('video-pipeline-1').toString('base64url');

/** One node that holds a few streams: a small heap, one collector thread, few background threads. */
const JVM = [
  '-Xms64m',
  '-Xmx512m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Djava.awt.headless=true',
];

export interface KafkaServer extends LocalServer {
  /** `127.0.0.1:<port>` */
  bootstrap: string;
  /** See {@link sharedClasses}. */
  archived: Promise<void>;
}

/** One of the nodes that form a cluster, each a broker and a controller. */
export interface ClusterNode {
  /** 1..n */
  id: number;
  /** Ports of all the controllers, by id. */
  controllers: readonly number[];
}

/**
 * Plans a cluster of so many nodes, all on this machine; each is started by {@link startKafka}, at the same time.
 * @param firstPort of the first node; the others take free ones
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

function nodeName(id: number): string {
  return `kafka-${id}`;
}

/**
 * Starts Apache Kafka, a KRaft node on 127.0.0.1, on the data that lies under `<dataDir>/kafka`, or `kafka-<id>` for a node
 * of a cluster: that is ready once more than half of the nodes are up.
 * @param options.port 0 or left out: a free one
 * @param options.node left out: the node is all there is
 * @param options.settings what `server.properties` is to hold beside ours, or instead
 * @throws AssetError, StartError
 */
export async function startKafka(options: {
  dataDir: string;
  port?: number | undefined;
  node?: ClusterNode;
  settings?: Readonly<Record<string, string>>;
  note?: (line: string) => void;
  /** When its classes are archived, if they are not, milliseconds; see {@link sharedClasses}. */
  archiveAfterMs?: number;
  /** Ends it before it is ready. */
  stop?: AbortSignal;
}): Promise<KafkaServer> {
  const installed = await installJava('Apache Kafka', JARS.kafka, options.note);
  const { command, env } = installed;
  const { dataDir, node = { id: 1, controllers: [await freePort()] } } = options;
  const name = options.node ? nodeName(node.id) : 'kafka';
  const folder = join(dataDir, name);
  await mkdir(folder, { recursive: true });
  const port = options.port || (await freePort());
  const properties = join(folder, 'server.properties');
  const settings = { ...serverSettings(join(folder, 'log'), port, node), ...options.settings };
  await writeFile(properties, propertiesText(settings));
  const log4j = join(folder, 'log4j2.properties');
  await writeFile(log4j, logProperties(join(dataDir, 'logs', `${name}.log`)));
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
    pidFile: join(dataDir, 'run', `${name}.pid`),
    logFile: join(dataDir, 'logs', `${name}.log`),
    stop: options.stop,
    // In a cluster another node may lead, and be away.
    isReady: async () => (await answers(bootstrap)) && (options.node !== undefined || serves(bootstrap)),
  });
  const archived = classes.keep(server.exited, options.archiveAfterMs);
  return { bootstrap, archived, ...server };
}

/** Whether a broker at `bootstrap` answers. */
export function answers(bootstrap: string): Promise<boolean> {
  return holds(bootstrap, async (admin) => (await admin.describeCluster()).brokers.length > 0);
}

/** Whether the broker at `bootstrap` serves each partition it holds: after a crash it answers some time before that. */
function serves(bootstrap: string): Promise<boolean> {
  return holds(bootstrap, async (admin) => {
    for (const topic of await admin.listTopics()) await admin.fetchTopicOffsets(topic);
    return true;
  });
}

/** Whether a question to a broker is answered with yes; no answer is a no. */
async function holds(bootstrap: string, question: (admin: Admin) => Promise<boolean>): Promise<boolean> {
  const settings = { KAFKA_BOOTSTRAP_SERVERS: bootstrap, KAFKA_AUTH: 'none', AWS_REGION: '' } as const;
  const kafka = connectKafka('probe', SILENT, settings, { retry: { retries: 0 } });
  return withAdmin(kafka, question).catch(() => false);
}

/**
 * Formats a node's folder, or copies what an earlier first start has formatted for the same version and node: that spares
 * the start of a whole JVM, as long as one that Kafka's own takes.
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
  const partial = `${template}.${process.pid}`;
  // A cache that can't be written, or another process that was faster, costs nothing but this time.
  await cp(log, partial, { recursive: true })
    .then(() => rename(partial, template))
    .catch(() => rm(partial, { recursive: true, force: true }));
}

async function format({ command, env }: JavaCommand, properties: string): Promise<void> {
  const [java, ...own] = command;
  const args = [
    ...own,
    'kafka.tools.StorageTool',
    'format',
    `--cluster-id=${CLUSTER_ID}`,
    '--config',
    properties,
  ];
  try {
    await promisify(execFile)(java, args, { env });
  } catch (cause) {
    throw new StartError(`Kafka can't format ${properties}: ${(cause as Error).message}`, { cause });
  }
}

function serverSettings(logDir: string, port: number, { id, controllers }: ClusterNode) {
  const controllerPort = controllers[id - 1];
  // Three copies of which two must be written, as MSK has it; all where there are fewer nodes.
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
    'log.dirs': logDir,
    'auto.create.topics.enable': false,
    // A send of 25 frames is one batch.
    'message.max.bytes': 8 * 1024 * 1024,
    // Bounded: the frames have their lasting place in S3.
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
    'num.replica.fetchers': 1,
    'log.cleaner.dedupe.buffer.size': 16 * 1024 ** 2,
  };
}

function logProperties(file: string): string {
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
