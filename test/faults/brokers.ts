import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Admin } from '@video-pipeline/kafka';
import { freePort, planCluster, startKafka } from '@video-pipeline/local';
import { Service } from './service.ts';

/** The network between the clients and one broker. */
interface Wire {
  port: number;
  /** No bytes pass in either direction, and connections stay open, as when packets are lost. */
  cut(): void;
  /** Resets the connections that were cut. New ones pass. */
  mend(): void;
  close(): void;
}

async function startWire(target: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((client) => {
    const broker = connect(target, '127.0.0.1');
    for (const socket of [client, broker]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        broker.destroy();
      });
    }
    if (!isCut) client.pipe(broker).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const reset = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
    mend() {
      isCut = false;
      reset();
    },
    close() {
      server.close();
      reset();
    },
  };
}

/** The cluster, as its faults use it. */
export interface ClusterView {
  admin: Admin;
  /** The network between the clients and each broker. */
  wires: readonly Wire[];
  /** The broker that leads a partition. */
  leaderOf(topic: string, partition: number): Promise<Service>;
  /** The broker that coordinates a group. */
  coordinatorOf(group: string): Promise<Service>;
}

const OFFSETS_TOPIC = '__consumer_offsets';

/**
 * Kafka as one node, or as a cluster. Clients reach each node by a wire that can be cut. The nodes reach each other.
 * @param firstDir where the first node keeps its data, if not with everything else
 */
export async function planBrokers(count: number, folder: string, firstDir = folder) {
  if (count === 1) {
    const port = await freePort();
    const broker = new Service((stop) => startKafka({ dataDir: firstDir, port, stop }));
    return { bootstrap: `127.0.0.1:${port}`, brokers: [broker], over: () => undefined, close() {} };
  }
  const nodes = await planCluster(count);
  const wires = await Promise.all(nodes.map(({ port }) => startWire(port)));
  const brokers = await Promise.all(
    nodes.map(async ({ port, node }, index) => {
      const internal = await freePort();
      const settings = {
        listeners: [
          `PLAINTEXT://127.0.0.1:${port}`,
          `INTERNAL://127.0.0.1:${internal}`,
          `CONTROLLER://127.0.0.1:${node.controllers[index]}`,
        ].join(),
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${wires[index]?.port},INTERNAL://127.0.0.1:${internal}`,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
        'inter.broker.listener.name': 'INTERNAL',
        // Preferred leaders are elected every few seconds instead of minutes.
        'leader.imbalance.check.interval.seconds': '5',
        'leader.imbalance.per.broker.percentage': '0',
      };
      return new Service((stop) =>
        startKafka({ dataDir: index === 0 ? firstDir : folder, port, node, settings, stop }),
      );
    }),
  );
  return {
    bootstrap: wires.map(({ port }) => `127.0.0.1:${port}`).join(),
    brokers,
    over: (admin: Admin): ClusterView => viewOf(admin, brokers, wires),
    close: () => wires.forEach((wire) => void wire.close()),
  };
}

function viewOf(admin: Admin, brokers: readonly Service[], wires: readonly Wire[]): ClusterView {
  const leaderOf = async (topic: string, partition: number) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    const leader = topics[0]?.partitions.find(({ partitionId }) => partitionId === partition)?.leader ?? 1;
    return brokers[Math.max(leader, 1) - 1] as Service;
  };
  return {
    admin,
    wires,
    leaderOf,
    async coordinatorOf(group) {
      const { topics } = await admin.fetchTopicMetadata({ topics: [OFFSETS_TOPIC] });
      return leaderOf(OFFSETS_TOPIC, hashOf(group) % (topics[0]?.partitions.length ?? 1));
    },
  };
}

/** Java's hash of a text without its sign: it gives the partition of a group's offsets. */
function hashOf(text: string): number {
  const hash = Array.from(text, (one) => one.charCodeAt(0)).reduce(
    (sum, code) => (Math.imul(sum, 31) + code) | 0,
    0,
  );
  return hash & 0x7fffffff;
}
