import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A call that the fake server got. */
export interface ReceivedCall {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: Buffer;
  /** The client's port: each connection has its own. */
  port?: number | undefined;
}

export interface FakeAnswer {
  status?: number;
  body?: unknown;
  headers?: Record<string, string>;
  /** Breaks the connection instead of answering. */
  reset?: boolean;
}

/** An HTTP server for tests that keeps each call, and whose responses the test chooses, faults included. */
export async function startFakeServer(answer: (call: ReceivedCall) => FakeAnswer | Promise<FakeAnswer>) {
  const calls: ReceivedCall[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const call = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks),
      port: request.socket.remotePort,
    };
    calls.push(call);
    const { status = 200, body = {}, headers, reset } = await answer(call);
    if (reset) return void request.socket.destroy();
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The JPEGs of an Open Inference request with the binary extension, cut by the lengths before each. */
export function readBinaryRequest(
  call: ReceivedCall,
  headerLength: number,
): { header: unknown; jpegs: Buffer[] } {
  const jpegs: Buffer[] = [];
  for (let at = headerLength; at < call.body.length; ) {
    const length = call.body.readUInt32LE(at);
    jpegs.push(call.body.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return { header: JSON.parse(call.body.toString('utf8', 0, headerLength)), jpegs };
}
