import { KafkaJSConnectionClosedError, KafkaJSConnectionError } from 'kafkajs/src/errors.js';
import Connection from 'kafkajs/src/network/connection.js';

/**
 * Longest wait for an answer, milliseconds: a little more than the cluster waits for a broker's heartbeat (9 s). After that
 * another broker leads, or the in-sync replicas are fewer and the answer comes.
 */
export const REQUEST_TIMEOUT_MS = 10_000;

/**
 * How long a broker that was left is not connected to again, milliseconds: kafkajs lets an idempotent producer's partitions
 * wait for each other at their leader, and each would find out by itself.
 */
const RECONNECT_AFTER_MS = 1_000;
/** What an answer begins with. */
const LENGTH_BYTES = 4;

/**
 * kafkajs 2.2.4 keeps a connection on which a request has timed out, and asks the same broker again, for as long as its
 * metadata last: what a broker that hangs has led stands still until that broker goes on. Here such a connection is closed,
 * as Kafka's own client does, so that the leader is looked up.
 */
export function leaveHungBrokers(): void {
  const { send } = Connection.prototype;
  Connection.prototype.send = async function (request) {
    try {
      return await send.call(this, request);
    } catch (error) {
      if ((error as Error).name !== 'KafkaJSRequestTimeoutError') throw error;
      const { host, port, socket } = this;
      const closed = new KafkaJSConnectionClosedError((error as Error).message, { host, port });
      this.leftAt = performance.now();
      this.rejectRequests(closed);
      await this.disconnect();
      socket?.destroy();
      throw closed;
    }
  };
  const { connect } = Connection.prototype;
  Connection.prototype.connect = async function () {
    const isLeft = performance.now() - (this.leftAt ?? Number.NEGATIVE_INFINITY) < RECONNECT_AFTER_MS;
    const broker = `${this.host}:${this.port}`;
    if (isLeft) throw new KafkaJSConnectionError('left, as it did not answer', { broker });
    return connect.call(this);
  };
}

/**
 * kafkajs 2.2.4 uses a connection again after its end, with what it had then: the begin of an answer, for which it takes the
 * answers of the new connection, and requests that came while it disconnected, which nothing ends any more.
 */
export function connectAfresh(): void {
  const { connect, disconnect } = Connection.prototype;
  Connection.prototype.connect = function () {
    if (!this.isConnected()) Object.assign(this, { chunks: [], bytesBuffered: 0, bytesNeeded: LENGTH_BYTES });
    return connect.call(this);
  };
  Connection.prototype.disconnect = async function () {
    const done = await disconnect.call(this);
    this.rejectRequests(new KafkaJSConnectionClosedError('Closed connection', this));
    return done;
  };
}
