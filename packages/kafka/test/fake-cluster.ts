import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';
import Decoder from 'kafkajs/src/protocol/decoder.js';
import Encoder from 'kafkajs/src/protocol/encoder.js';

/** A record batch as a broker of {@link startFakeCluster} received it. */
export interface Received {
  /** Index of the broker. */
  broker: number;
  partition: number;
  /** Bytes of the batch: keys and values lie in it as they are. */
  batch: Buffer;
}

const API = { PRODUCE: 0, LIST_OFFSETS: 2, METADATA: 3, API_VERSIONS: 18, INIT_PRODUCER_ID: 22 };
const LEADER_NOT_AVAILABLE = 5;
/** The one version of each request that the brokers speak. */
const VERSIONS = {
  [API.PRODUCE]: 3,
  [API.LIST_OFFSETS]: 1,
  [API.METADATA]: 1,
  [API.API_VERSIONS]: 2,
  [API.INIT_PRODUCER_ID]: 0,
};

/**
 * Brokers of one topic that speak only the parts of Kafka's protocol that a producer needs. They play faults that a
 * real broker can't be made to play at a given moment.
 * @param leaders index of the broker that leads each partition, -1 for none; may be changed at any time
 * @param answer says with which error code a batch is answered; `undefined`: never; `null`: by an answer that lacks it;
 * `half`: by the first half of an answer, and a connection that is reset
 */
export async function startFakeCluster(options: {
  topic: string;
  brokers: number;
  leaders: number[];
  /** The brokers' racks. */
  racks?: string[];
  answer(received: Received): number | null | undefined | 'half';
}) {
  const { topic, leaders, racks, answer } = options;
  const preferred = [...leaders];
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const stored: Received[] = [];
  const ports = () => servers.map((server) => (server.address() as AddressInfo).port);

  const metadata = () => {
    const brokers = ports().map((port, index) =>
      new Encoder()
        .writeInt32(index)
        .writeString('127.0.0.1')
        .writeInt32(port)
        .writeString(racks?.[index] ?? null),
    );
    const partitions = leaders.map((leader, partition) => {
      const [first = leader] = [preferred[partition]];
      const replicas = [first, ...servers.map((_, index) => index).filter((index) => index !== first)];
      return new Encoder()
        .writeInt16(leader < 0 ? LEADER_NOT_AVAILABLE : 0)
        .writeInt32(partition)
        .writeInt32(leader)
        .writeArray(replicas, 'int32')
        .writeArray(replicas, 'int32');
    });
    const topics = [
      new Encoder().writeInt16(0).writeString(topic).writeBoolean(false).writeArray(partitions),
    ];
    return new Encoder().writeArray(brokers).writeInt32(0).writeArray(topics);
  };

  const apiVersions = () => {
    const versions = Object.entries(VERSIONS).map(([key, version]) =>
      new Encoder().writeInt16(Number(key)).writeInt16(version).writeInt16(version),
    );
    return new Encoder().writeInt16(0).writeArray(versions).writeInt32(0);
  };

  let producers = 0;
  const producerId = () => new Encoder().writeInt32(0).writeInt16(0).writeInt64(++producers).writeInt16(0);

  /** Produce v3; @returns nothing where one batch is never answered */
  const produce = (request: Decoder, broker: number, reset: () => void) => {
    request.readString(); // transactional id
    request.readInt16(); // acks
    request.readInt32(); // timeout
    const batches = request.readArray(() => {
      request.readString();
      return request.readArray(() => ({
        broker,
        partition: request.readInt32(),
        batch: request.readBytes(),
      }));
    });
    const answers = batches.flat().map((received) => {
      const code = answer(received);
      if (code === 0) stored.push(received);
      return { ...received, code };
    });
    if (answers.some(({ code }) => code === undefined)) return undefined;
    if (answers.some(({ code }) => code === 'half')) reset();
    const partitions = answers
      .filter(({ code }) => code !== null)
      .map(({ partition, code }) =>
        new Encoder()
          .writeInt32(partition)
          .writeInt16(typeof code === 'number' ? code : 0)
          .writeInt64(0)
          .writeInt64(-1),
      );
    const topics = partitions.length > 0 ? [new Encoder().writeString(topic).writeArray(partitions)] : [];
    return new Encoder().writeArray(topics).writeInt32(0);
  };

  /** List offsets v1: every partition is empty. */
  const offsets = (request: Decoder) => {
    request.readInt32(); // replica
    const topics = request.readArray(() => {
      const name = request.readString();
      const partitions = request.readArray(() => {
        const partition = new Encoder().writeInt32(request.readInt32());
        request.readInt32();
        request.readInt32(); // the lower half of the time
        return partition.writeInt16(0).writeInt64(-1).writeInt64(0);
      });
      return new Encoder().writeString(name).writeArray(partitions);
    });
    return new Encoder().writeArray(topics);
  };

  const respond = (request: Decoder, broker: number, reset: () => void): Buffer | undefined => {
    const api = request.readInt16();
    request.readInt16(); // version
    const correlation = request.readInt32();
    request.readString(); // client id
    const answers: Record<number, () => Encoder | undefined> = {
      [API.PRODUCE]: () => produce(request, broker, reset),
      [API.LIST_OFFSETS]: () => offsets(request),
      [API.METADATA]: metadata,
      [API.API_VERSIONS]: apiVersions,
      [API.INIT_PRODUCER_ID]: producerId,
    };
    const body = answers[api]?.();
    if (!body) return undefined;
    const response = new Encoder().writeInt32(correlation).writeEncoder(body);
    return new Encoder().writeInt32(response.size()).writeEncoder(response).buffer;
  };

  for (let broker = 0; broker < options.brokers; broker++) {
    const server = createServer((socket) => {
      sockets.add(socket.once('close', () => sockets.delete(socket)));
      let pending = Buffer.alloc(0);
      let isCut = false;
      socket.on('error', () => {});
      socket.on('data', (data) => {
        pending = Buffer.concat([pending, data]);
        while (!isCut && pending.length >= 4 && pending.length >= 4 + pending.readInt32BE()) {
          const end = 4 + pending.readInt32BE();
          const response = respond(new Decoder(pending.subarray(4, end)), broker, () => (isCut = true));
          pending = pending.subarray(end);
          if (response && !isCut) socket.write(response);
          // Not before the client has read the half.
          else if (response)
            socket.write(response.subarray(0, response.length / 2), () =>
              setTimeout(() => socket.resetAndDestroy(), 20),
            );
          if (isCut) break;
        }
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
  }

  return {
    bootstrap: ports()
      .map((port) => `127.0.0.1:${port}`)
      .join(),
    leaders,
    /** Batches that were answered with error code 0, in order of arrival. */
    stored,
    /** Connections that are open. */
    sockets: sockets as ReadonlySet<Socket>,
    async close() {
      for (const socket of sockets) socket.destroy();
      for (const server of servers) server.close();
    },
  };
}

/** A member of a consumer group that is connected to nothing. @param properties of it, such as its coordinator */
export function fakeMember(properties: object): ConsumerGroup {
  const group = new ConsumerGroup({
    logger: { namespace: () => ({}) },
    retry: {},
    cluster: {},
    groupId: 'g',
    instrumentationEmitter: { emit() {} },
    topics: [],
  });
  return Object.assign(group, properties);
}
