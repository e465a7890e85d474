import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ISocketFactory } from 'kafkajs';
import createSocketFactory from 'kafkajs/src/network/socketFactory.js';

/** Longest wait for kafkajs to disconnect in order, milliseconds. */
const DISCONNECT_TIMEOUT_MS = 3_000;

const connect = createSocketFactory();

/** A client of kafkajs. */
export interface KafkaClient {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

/**
 * The connections of one producer, consumer or admin client. `disconnect` of kafkajs 2.2.4 does not end them all. A
 * retry at that moment opens new connections, which nothing closes (tulios/kafkajs#1148). A request without an answer
 * keeps `disconnect` waiting (#1167). The process would not end, and each short-lived client would leave connections.
 */
export class Connections {
  readonly #sockets = new Set<Socket>();
  #isClosed = false;

  /** True once no connection may be opened and nothing may be logged. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Opens a connection for kafkajs. */
  readonly open: ISocketFactory = (options) => {
    if (this.#isClosed) throw new Error('disconnected');
    const socket = connect(options);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  };

  /** Makes sure that `disconnect` leaves no connection of `client` open. The client may connect again after that. */
  guard<Client extends KafkaClient>(client: Client): Client {
    const { connect, disconnect } = client;
    return Object.assign(client, {
      connect: () => {
        this.#isClosed = false;
        return connect();
      },
      disconnect: async () => {
        try {
          await Promise.race([disconnect(), sleep(DISCONNECT_TIMEOUT_MS, undefined, { ref: false })]);
        } finally {
          this.#close();
        }
      },
    });
  }

  #close(): void {
    this.#isClosed = true;
    // Destroyed with an error: only then does kafkajs reject the requests that wait for an answer, and clear its
    // timers.
    for (const socket of this.#sockets) socket.destroy(new Error('disconnected'));
  }
}
