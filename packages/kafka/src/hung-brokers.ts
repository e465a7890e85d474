import { KafkaJSConnectionClosedError, KafkaJSConnectionError } from 'kafkajs/src/errors.js';
import Connection from 'kafkajs/src/network/connection.js';

/**
 * Longest wait for an answer, milliseconds: longer than the cluster waits for a broker's heartbeat (9 s). By then
 * another broker leads the partition, or the leader has removed a hung replica from the in-sync replicas and answers.
 */
export const REQUEST_TIMEOUT_MS = 10_000;

/**
 * How long no new connection is made to a broker that did not answer, milliseconds. kafkajs makes an idempotent
 * producer's partitions wait for each other at their leader: without this pause, each would wait for a timeout.
 */
const RECONNECT_AFTER_MS = 1_000;
/** Bytes of the length with which an answer begins. */
const LENGTH_BYTES = 4;

/**
 * kafkajs 2.2.4 keeps a connection on which a request has timed out, and asks the same broker again until its metadata
 * expire. Nothing is sent to the partitions of a hung broker until that broker continues. Here such a connection is
 * closed, as Kafka's Java client does, so that the new leader is looked up.
 */
export function disconnectHungBrokers(): void {
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
    if (isLeft)
      throw new KafkaJSConnectionError('the broker did not answer, and is not asked again yet', { broker });
    return connect.call(this);
  };
}

/**
 * kafkajs 2.2.4 uses a closed connection again together with its old state. It takes the start of an old answer for the
 * start of the new connection's answers. Requests that came during the disconnect never end. Here a new connection
 * begins with empty buffers, and a disconnect rejects all requests.
 */
export function reconnectWithEmptyBuffers(): void {
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
