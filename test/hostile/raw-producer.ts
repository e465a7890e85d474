import { once } from 'node:events';
import { connect } from 'node:net';
import { int16, int32 } from '../support/record-batch.ts';

/** The response of a broker for a record batch: 0 and its first offset, or an error code. */
export interface Produced {
  errorCode: number;
  firstOffset: number;
}

const PRODUCE = 0;
const VERSION = 7;

/**
 * Sends the bytes of a record batch unchanged, which no client library does.
 * @param broker `host:port`, the partition's leader
 * @see https://kafka.apache.org/protocol.html#The_Messages_Produce
 */
export async function produceRaw(
  broker: string,
  topic: string,
  partition: number,
  batch: Buffer,
): Promise<Produced> {
  const [host = '', port = ''] = broker.split(':');
  const socket = connect(Number(port), host);
  try {
    await once(socket, 'connect');
    const body = Buffer.concat([
      int16(PRODUCE),
      int16(VERSION),
      int32(1), // Correlation.
      string('hostile'),
      int16(-1), // No transaction.
      int16(-1), // All in-sync replicas.
      int32(30_000),
      int32(1),
      string(topic),
      int32(1),
      int32(partition),
      int32(batch.length),
      batch,
    ]);
    socket.write(Buffer.concat([int32(body.length), body]));
    let answer = Buffer.alloc(0);
    for await (const chunk of socket) {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) break;
    }
    // Length, correlation, one topic with its name, one partition with its number.
    const at = 4 + 4 + 4 + 2 + Buffer.byteLength(topic) + 4 + 4;
    return { errorCode: answer.readInt16BE(at), firstOffset: Number(answer.readBigInt64BE(at + 2)) };
  } finally {
    socket.destroy();
  }
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([int16(bytes.length), bytes]);
}
