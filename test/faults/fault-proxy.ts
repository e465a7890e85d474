import { once } from 'node:events';
import { Agent, createServer, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Exchange {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
  answer: Answer;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** A fault of one request. */
export type WireFault =
  /** The request is not passed on, and gets no response. */
  | { do: 'answer'; status: number; body: string; headers?: Record<string, string> }
  | { do: 'reset' | 'silence' }
  /** The server has processed the request. */
  | { do: 'reset after' | 'half' }
  | { do: 'change'; change: (exchange: Exchange) => Buffer }
  | { do: 'delay'; ms: number };

export interface ProxyOptions {
  /** Requests that faults apply to. Others pass. */
  isTarget(method: string, path: string): boolean;
  /** Gets each complete response of the server, and may change it. */
  onAnswer?(exchange: Exchange): Buffer | undefined;
}

/** An HTTP relay that can inject faults of the network and of the server. */
export interface FaultProxy {
  url: string;
  /** Injects the fault into the next `times` requests. */
  arm(fault: WireFault, times?: number): void;
  /** Faults that no request has met yet. */
  armed(): number;
  close(): Promise<void>;
}

/** @param target base URL of the server */
export async function startFaultProxy(target: string, options: ProxyOptions): Promise<FaultProxy> {
  const faults: WireFault[] = [];
  const agent = new Agent({ keepAlive: true });
  const server = createServer(async (incoming, outgoing) => {
    const [method = '', path = ''] = [incoming.method, incoming.url];
    const fault = options.isTarget(method, path) ? faults.shift() : undefined;
    try {
      const body = await readAll(incoming);
      if (fault?.do === 'silence') return;
      if (fault?.do === 'reset') return void incoming.socket.destroy();
      if (fault?.do === 'answer') {
        return void outgoing.writeHead(fault.status, fault.headers).end(fault.body);
      }
      if (fault?.do === 'delay') await sleep(fault.ms);
      const answer = await forward(agent, target, incoming, body);
      if (fault?.do === 'reset after') return void incoming.socket.destroy();
      const exchange: Exchange = { method, path, headers: incoming.headers, body, answer };
      answer.body = options.onAnswer?.(exchange) ?? answer.body;
      const sent = fault?.do === 'change' ? fault.change(exchange) : answer.body;
      outgoing.writeHead(answer.status, { ...answer.headers, 'content-length': sent.length });
      if (fault?.do !== 'half') return void outgoing.end(sent);
      outgoing.write(sent.subarray(0, sent.length / 2), () => incoming.socket.destroy());
    } catch {
      incoming.socket.destroy(); // The server, or the client, is away.
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arm(fault, times = 1) {
      for (let time = 0; time < times; time++) faults.push(fault);
    },
    armed: () => faults.length,
    async close() {
      server.closeAllConnections();
      server.close();
      agent.destroy();
      await once(server, 'close');
    },
  };
}

async function forward(
  agent: Agent,
  target: string,
  { method, url, headers }: IncomingMessage,
  body: Buffer,
): Promise<Answer> {
  const { 'transfer-encoding': _chunked, expect: _expect, ...passed } = headers;
  const options = { agent, method: method ?? 'GET', headers: { ...passed, 'content-length': body.length } };
  const outgoing = request(new URL(url ?? '/', target), options);
  outgoing.end(body);
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  const answer = await readAll(incoming);
  const { 'transfer-encoding': _cut, ...kept } = incoming.headers;
  return { status: incoming.statusCode ?? 502, headers: kept, body: answer };
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}
