import { once } from 'node:events';
import { connect } from 'node:net';

const ELECT_LEADERS = 43;
const PREFERRED = 0;
const TIMEOUT_MS = 10_000;

/**
 * Asks for what `kafka-leader-election --election-type preferred --all-topic-partitions` does, which kafkajs can't: each
 * partition's first replica leads it.
 * @see https://kafka.apache.org/protocol.html#The_Messages_ElectLeaders (version 1)
 * @throws Error if a broker does not respond, or responds with an error
 */
export async function electLeaders(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    const request = Buffer.alloc(4 + 2 + 2 + 4 + 2 + 1 + 4 + 4);
    let at = request.writeInt32BE(request.length - 4);
    at = request.writeInt16BE(ELECT_LEADERS, at);
    at = request.writeInt16BE(1, at);
    at = request.writeInt32BE(7, at); // correlation id
    at = request.writeInt16BE(-1, at); // no client id
    at = request.writeInt8(PREFERRED, at);
    at = request.writeInt32BE(-1, at); // all partitions
    request.writeInt32BE(TIMEOUT_MS, at);
    socket.write(request);
    // Not the socket's own limit: a broker that hangs up without an answer ends that.
    const [answer] = (await once(socket, 'data', { signal: AbortSignal.timeout(TIMEOUT_MS) })) as [Buffer];
    const [correlation, code] = [answer.readInt32BE(4), answer.readInt16BE(12)];
    if (correlation !== 7 || code !== 0) throw new Error(`leaders not elected: error ${code}`);
  } finally {
    socket.destroy();
  }
}
