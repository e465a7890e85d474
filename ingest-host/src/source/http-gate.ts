import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { AllowedHosts, connectTo } from '@video-pipeline/outbound';
import type { Gate } from './ffmpeg-source.ts';
import {
  MAX_BYTES_WITHOUT_PACKET,
  MAX_CONNECTIONS_WITHOUT_PACKET,
  MAX_LIST_BYTES,
  MAX_MASTER_LIST_BYTES,
} from './limits.ts';
import { connectionError, SourceError } from './source-error.ts';

/** Longest request or answer head. */
const MAX_HEAD_BYTES = 64 * 1024;

interface Request {
  host: string;
  port: number;
  /** What goes to the server first; absent for a tunnel. */
  head?: string;
}

/**
 * A proxy of one source, on this machine alone, that FFmpeg makes its HTTP requests through: redirects, segments and keys
 * of lists lead where {@link AllowedHosts} says, and what comes is counted, since FFmpeg itself has no bound.
 */
export class HttpGate implements Gate {
  readonly #hosts: AllowedHosts;
  readonly #server = createServer((client) => this.#serve(client));
  readonly #sockets = new Set<Socket>();
  #bytes = 0;
  #connections = 0;
  problem: SourceError | undefined;
  /** Whether the first answer named its length. */
  hasLength = false;

  private constructor(url: URL, hosts: readonly string[]) {
    this.#hosts = new AllowedHosts(url, hosts);
  }

  /** @param hosts beside the URL's own */
  static async open(url: URL, hosts: readonly string[] = []): Promise<HttpGate> {
    // FFmpeg would go past the proxy.
    delete process.env.no_proxy;
    const gate = new HttpGate(url, hosts);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  /** What FFmpeg's option `http_proxy` gets. */
  get proxy(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A packet came of what was let through: it is counted from there. */
  onPacket(): void {
    this.#bytes = 0;
    this.#connections = 0;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(client: Socket): void {
    this.#keep(client);
    let head = '';
    let server: { socket: Socket; place: string } | undefined;
    const read = (bytes: Buffer) => {
      head += bytes.toString('latin1');
      if (!head.includes('\r\n\r\n') && head.length < MAX_HEAD_BYTES) return;
      try {
        const request = parseRequest(head);
        // None of FFmpeg's: others of this machine, web pages.
        if (!request) return void client.destroy();
        head = '';
        this.#check(request);
        const place = `${request.host} ${request.port}`;
        // A connection that is kept may be used again, but to the same place only.
        if (server?.place !== place)
          server = { place, socket: this.#join(client, connectTo(request), server?.socket) };
        if (request.head !== undefined) server.socket.write(request.head, 'latin1');
        else {
          client.off('data', read);
          this.#tunnel(client, server.socket);
        }
      } catch (error) {
        this.#refuse(client, new SourceError((error as Error).message, true));
      }
    };
    client.on('data', read);
  }

  /** @throws SourceError */
  #check({ host, port }: Request): void {
    if (!this.#hosts.allows(host, port)) {
      throw new SourceError(`it leads to ${host}:${port}, which is neither its own host nor among 'hosts'`);
    }
    this.#connections += 1;
    if (this.#connections > MAX_CONNECTIONS_WITHOUT_PACKET) {
      throw new SourceError(
        `it wants more than ${MAX_CONNECTIONS_WITHOUT_PACKET} requests, and gives no picture`,
      );
    }
  }

  /** Passes on what `server` says, instead of what `former` did. */
  #join(client: Socket, server: Socket, former?: Socket): Socket {
    former?.unpipe(client).removeAllListeners('close').destroy();
    if (former) this.#sockets.delete(former);
    this.#keep(server);
    server.once('error', (error) => this.#refuse(client, connectionError(error)));
    let most = MAX_BYTES_WITHOUT_PACKET;
    server.on('data', (bytes) => {
      if (server.bytesRead === bytes.length) this.#lookAt(bytes);
      if (server.bytesRead <= MAX_HEAD_BYTES) most = Math.min(most, boundOf(bytes));
      this.#count(bytes.length, most, client);
    });
    server.pipe(client);
    server.once('close', () => client.end());
    client.once('close', () => server.destroy());
    return server;
  }

  #tunnel(client: Socket, server: Socket): void {
    server.once('connect', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      client.pipe(server);
    });
  }

  #lookAt(bytes: Buffer): void {
    const head = bytes.toString('latin1', 0, MAX_HEAD_BYTES).split('\r\n\r\n', 1)[0] ?? '';
    if (/^HTTP\/1\.\d 20/.test(head)) this.hasLength ||= /\r\ncontent-length:/i.test(head);
  }

  #count(bytes: number, most: number, client: Socket): void {
    this.#bytes += bytes;
    if (this.#bytes <= most) return;
    this.problem ??= new SourceError(`${most / 1024} KiB without a picture`, true);
    client.destroy();
  }

  #refuse(client: Socket, problem: SourceError): void {
    this.problem ??= problem;
    client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    // The other end hears of it by the close.
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

/** @param bytes among the first of an answer */
function boundOf(bytes: Buffer): number {
  if (bytes.includes('#EXT-X-STREAM-INF')) return MAX_MASTER_LIST_BYTES;
  return bytes.includes('#EXTM3U') ? MAX_LIST_BYTES : MAX_BYTES_WITHOUT_PACKET;
}

/**
 * @param head of a request to a proxy (RFC 9112, 3.2.2 and 3.2.3)
 * @returns `undefined` for any other, as one to a server
 */
function parseRequest(head: string): Request | undefined {
  const [, method, target = ''] = /^([A-Z]+) (\S+) HTTP\/1\.\d\r\n/.exec(head) ?? [];
  const url = URL.parse(method === 'CONNECT' ? `https://${target}` : target);
  if (!url || (method !== 'CONNECT' && url.protocol !== 'http:')) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (method === 'CONNECT') return { host, port: Number(url.port || 443) };
  const lines = head.slice(head.indexOf('\r\n')).replace(/\r\n(proxy-)?connection:[^\r]*/gi, '');
  const path = `${url.pathname}${url.search}`;
  return {
    host,
    port: Number(url.port || 80),
    head: `${method} ${path} HTTP/1.1\r\nConnection: close${lines}`,
  };
}
