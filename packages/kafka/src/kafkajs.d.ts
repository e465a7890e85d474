// kafkajs declares no types for its inner modules.
declare module 'kafkajs/src/network/requestQueue/index.js' {
  export default class RequestQueue {
    pending: unknown[];
    throttledUntil: number;
    constructor(options: {
      requestTimeout: number;
      enforceRequestTimeout?: boolean;
      clientId: string;
      broker: string;
      logger: unknown;
    });
    scheduleCheckPendingRequests(): void;
    canSendSocketRequestImmediately(): boolean;
    scheduleRequestTimeoutCheck(): void;
    push(request: {
      entry: { correlationId: number; resolve(answer: unknown): void; reject(error: Error): void };
      expectResponse: boolean;
      sendRequest(): void;
    }): void;
    destroy(): void;
  }
}

declare module 'kafkajs/src/network/connection.js' {
  export default class Connection {
    host: string;
    port: number;
    socket: import('node:net').Socket | undefined;
    /** Added by us: when a request timed out, by `performance.now`. */
    leftAt?: number;
    constructor(options: object);
    isConnected(): boolean;
    connect(): Promise<unknown>;
    send(request: object): Promise<unknown>;
    disconnect(): Promise<boolean>;
    rejectRequests(error: Error): void;
  }
}

declare module 'kafkajs/src/errors.js' {
  export function isRebalancing(error: unknown): boolean;
  export class KafkaJSConnectionError extends Error {
    constructor(message: string, of: { broker: string });
  }
  export class KafkaJSConnectionClosedError extends Error {
    constructor(message: string, broker: { host: string; port: number });
  }
}

declare module 'kafkajs/src/network/requestQueue/socketRequest.js' {
  export default class SocketRequest {
    /** Epoch milliseconds; null before. */
    sentAt: number | null;
  }
}

declare module 'kafkajs/src/cluster/brokerPool.js' {
  /** The fields that are used here. */
  export interface Broker {
    nodeId: number | string | null;
  }
  export default class BrokerPool {
    brokers: Record<string, Broker>;
    seedBroker: Broker;
    metadata: {
      topicMetadata: import('kafkajs/src/protocol/requests/metadata/index.js').TopicMetadata[];
    } | null;
    /** Epoch milliseconds; null: at once. */
    metadataExpireAt: number | null;
    constructor(options: object);
    refreshMetadata(topics: string[]): Promise<void>;
    refreshMetadataIfNecessary(topics: string[]): Promise<void>;
    findBroker(options: { nodeId: number | string }): Promise<Broker>;
  }
}

declare module 'kafkajs/src/broker/index.js' {
  export default class Broker {
    listOffsets(request: { isolationLevel?: number | undefined; topics: object[] }): Promise<object>;
  }
}

declare module 'kafkajs/src/consumer/consumerGroup.js' {
  interface Batch {
    topic: string;
    partition: number;
    fetchedOffset: string;
    highWatermark: string;
    rawMessages: object[];
  }
  export default class ConsumerGroup {
    /** Epoch milliseconds. */
    lastRequest: number;
    readonly groupId: string;
    /** None before the group is joined, and after the broker has forgotten the member. */
    readonly memberId: string | null;
    /** The broker that takes the member's heartbeats. */
    readonly coordinator: object;
    /** None before the group is joined. Its coordinator takes the commits. */
    readonly offsetManager?: { coordinator: object; nextOffset(topic: string, partition: number): object };
    readonly logger: import('kafkajs').Logger;
    readonly cluster: Pick<import('kafkajs').Cluster, 'fetchTopicsOffset' | 'findTopicPartitionMetadata'> & {
      findGroupCoordinator(options: { groupId: string }): Promise<{
        leaveGroup(options: { groupId: string; memberId: string }): Promise<unknown>;
      }>;
    };
    /** The followers that are read instead of the leaders, by topic and partition. */
    readonly preferredReadReplicasPerTopicPartition: Record<string, Record<number, { nodeId: number }>>;
    readonly instrumentationEmitter: { emit(event: string, payload: object): void };
    constructor(options: object);
    fetch(nodeId: string): Promise<Batch[]>;
    findReadReplicaForPartitions(topic: string, partitions: number[]): Record<string, number[]>;
    recoverFromOffsetOutOfRange(error: { topic: string; partition: number }): Promise<void>;
    heartbeat(options: { interval: number }): Promise<void>;
    joinAndSync(): Promise<void>;
  }
}

declare module 'kafkajs/src/cluster/index.js' {
  type Cluster = import('kafkajs').Cluster;
  const Cluster: { prototype: Cluster };
  export default Cluster;
}

declare module 'kafkajs/src/network/socketFactory.js' {
  export default function createSocketFactory(): import('kafkajs').ISocketFactory;
}

declare module 'kafkajs/src/protocol/encoder.js' {
  export default class Encoder {
    buf: Buffer;
    offset: number;
    /** Added by us: the chunks before `buf`. */
    chunks?: Buffer[];
    readonly buffer: Buffer;
    size(): number;
    writeBoolean(value: boolean): this;
    writeInt16(value: number): this;
    writeInt32(value: number): this;
    writeInt64(value: number): this;
    writeString(value: string | null): this;
    writeArray(values: readonly unknown[], type?: 'int32'): this;
    writeVarIntString(value: string): this;
    writeVarIntBytes(value: Buffer | string | null): this;
    writeBytes(value: unknown): this;
    writeEncoder(value: Encoder): this;
    writeEncoderArray(values: Encoder[]): this;
    writeBufferInternal(value: Buffer): void;
  }
}

declare module 'kafkajs/src/protocol/requests/metadata/index.js' {
  export interface TopicMetadata {
    /** A leader of -1 is none. */
    partitionMetadata: { partitionErrorCode: number; leader: number }[];
  }
  interface MetadataDefinition {
    request: unknown;
    response: {
      decode(answer: Buffer): Promise<unknown>;
      parse(data: { topicMetadata: TopicMetadata[] }): Promise<unknown>;
    };
  }
  const Metadata: {
    /** Encodes requests and decodes their answers, by version. */
    protocol: (options: { version: number | string }) => (request: object) => MetadataDefinition;
  };
  export default Metadata;
}

declare module 'kafkajs/src/protocol/requests/fetch/index.js' {
  interface FetchRequest {
    topics: { topic: string; partitions: { partition: number; fetchOffset: string }[] }[];
  }
  interface FetchDefinition {
    request: unknown;
    response: { decode(answer: Buffer): Promise<unknown>; parse(data: unknown): Promise<unknown> };
  }
  const Fetch: {
    /** Encodes requests and decodes their answers, by version. */
    protocol: (options: { version: number | string }) => (request: FetchRequest) => FetchDefinition;
  };
  export default Fetch;
}
