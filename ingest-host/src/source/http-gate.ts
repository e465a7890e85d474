import { once } from 'node:events';
import { createServer, type IncomingMessage, request as requestOver, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AllowedHosts, connectTo, portOf } from '@video-pipeline/outbound';
import { type Authorization, authorizationOf } from './authorization.ts';
import type { Gate } from './ffmpeg-source.ts';
import { type DatedSegment, datedSegments, SegmentClock } from './hls-list.ts';
import {
  MAX_BYTES_WITHOUT_PACKET,
  MAX_CONNECTIONS_WITHOUT_PACKET,
  MAX_LIST_BYTES,
  MAX_MASTER_LIST_BYTES,
} from './limits.ts';
import { connectionError, SourceError, statusError } from './source-error.ts';

/** Between two machines alone (RFC 9110, 7.6.1), or between FFmpeg and us. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
];

/**
 * A proxy of one source, on this machine alone, that FFmpeg makes its HTTP requests through: TLS and the password are the
 * gate's, redirects, segments and keys of lists lead where {@link AllowedHosts} says, and what comes is counted, since FFmpeg
 * itself has no bound.
 */
export class HttpGate implements Gate {
  readonly #url: URL;
  readonly #hosts: AllowedHosts;
  readonly #server = createServer((asked, answer) => this.#serve(asked, answer));
  readonly #authorization: Authorization | undefined;
  /** `host:port` that is reached through TLS, which FFmpeg knows nothing of. */
  readonly #secure = new Set<string>();
  readonly #clock = new SegmentClock();
  #segments = new Map<string, DatedSegment>();
  #bytes = 0;
  #requests = 0;
  problem: SourceError | undefined;
  /** Whether the first answer named its length. */
  hasLength = false;
  /** Date of a list's first segment, epoch milliseconds. */
  recordedAt: number | undefined;

  private constructor(url: URL, hosts: readonly string[]) {
    this.#url = url;
    this.#hosts = new AllowedHosts(url, hosts);
    this.#authorization = authorizationOf(url);
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

  /** What FFmpeg opens. */
  get address(): string {
    return this.#plain(this.#url);
  }

  /** What FFmpeg's option `http_proxy` gets. */
  get proxy(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A packet came of what was let through: it is counted from there. */
  onPacket(): void {
    this.#bytes = 0;
    this.#requests = 0;
  }

  wallClockOffset(time: number): number | undefined {
    return this.#clock.offsetAt(time);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** The URL as FFmpeg gets it: without password, and without TLS. */
  #plain(url: URL): string {
    const place = `${url.hostname}:${portOf(url)}`;
    if (url.protocol === 'https:') this.#secure.add(place);
    return `http://${place}${url.pathname}${url.search}`;
  }

  #serve(asked: IncomingMessage, answer: ServerResponse): void {
    try {
      const url = URL.parse(asked.url ?? '');
      if (url?.protocol !== 'http:') throw new SourceError('it leads nowhere', true);
      this.#check(url);
      const segment = this.#segments.get(url.href);
      if (segment) this.#clock.asked(segment);
      this.#ask(url, asked, answer);
    } catch (error) {
      this.#refuse(answer, new SourceError((error as Error).message, true));
    }
  }

  /** @throws SourceError */
  #check(url: URL): void {
    const [host, port] = [hostOf(url), portOf(url)];
    if (!this.#hosts.allows(host, port)) {
      throw new SourceError(`it leads to ${host}:${port}, which is neither its own host nor among 'hosts'`);
    }
    this.#requests += 1;
    if (this.#requests > MAX_CONNECTIONS_WITHOUT_PACKET) {
      throw new SourceError(
        `it wants more than ${MAX_CONNECTIONS_WITHOUT_PACKET} requests, and gives no picture`,
      );
    }
  }

  /** @param repeated with the password, once the server has asked for it */
  #ask(url: URL, asked: IncomingMessage, answer: ServerResponse, repeated = false): void {
    const [host, port, method] = [hostOf(url), portOf(url), asked.method ?? 'GET'];
    const path = `${url.pathname}${url.search}`;
    // Node looks at none of the addresses that it is given: the socket is made where they are.
    const socket = connectTo({ host, port, tls: this.#secure.has(`${url.hostname}:${port}`) });
    const isOwn = url.hostname === this.#url.hostname;
    const authorization = isOwn ? this.#authorization?.header(method, path) : undefined;
    const outgoing = requestOver({
      method,
      path,
      headers: {
        ...passedOn(asked),
        host: asked.headers.host,
        ...(authorization ? { authorization } : {}),
        connection: 'close',
      },
      createConnection: () => socket,
      insecureHTTPParser: true,
    });
    outgoing.on('error', (error) => this.#refuse(answer, connectionError(error)));
    answer.once('close', () => outgoing.destroy());
    outgoing.once('response', (came) => {
      came.on('error', () => answer.destroy());
      if (came.statusCode === 401 && isOwn && this.#authorization && !repeated) {
        answer.removeAllListeners('close');
        outgoing.destroy();
        try {
          this.#authorization.challenge(came.headersDistinct['www-authenticate'] ?? []);
          this.#ask(url, asked, answer, true);
        } catch (error) {
          this.#refuse(answer, error as SourceError);
        }
      } else this.#passOn(url, came, answer);
    });
    outgoing.end();
  }

  #passOn(url: URL, came: IncomingMessage, answer: ServerResponse): void {
    const { statusCode = 502, statusMessage = '', headers } = came;
    const isGood = statusCode < 300;
    // A segment that is gone is no reason to end; what ends it then is.
    this.problem =
      statusCode < 400
        ? undefined
        : statusError(statusCode, `it was answered ${statusCode} ${statusMessage}`);
    if (isGood) this.hasLength ||= headers['content-length'] !== undefined;
    const to = headers.location === undefined ? undefined : URL.parse(headers.location, url.href);
    const more = to ? { location: /^https?:$/.test(to.protocol) ? this.#plain(to) : to.href } : {};
    let list: Buffer[] | undefined;
    let total = 0;
    came.on('data', (bytes: Buffer) => {
      if (total === 0) {
        if (isGood && bytes.toString('latin1', 0, 12).includes('#EXTM3U')) list = [];
        answer.writeHead(statusCode, {
          ...passedOn(came),
          ...more,
          ...(list ? { 'content-length': undefined } : {}),
        });
      }
      total += bytes.length;
      list?.push(bytes);
      if (!this.#count(bytes.length, list && Buffer.concat(list))) return void answer.destroy();
      if (!list && !answer.write(bytes)) came.pause();
    });
    answer.on('drain', () => came.resume());
    came.once('end', () => {
      if (total === 0) answer.writeHead(statusCode, { ...passedOn(came), ...more });
      if (list) answer.write(this.#read(Buffer.concat(list), url));
      answer.end();
    });
  }

  /** Takes the dates of a list's segments. @returns the list as FFmpeg gets it */
  #read(list: Buffer, base: URL): Buffer {
    // FFmpeg's own requests begin with http:, whatever the list says.
    const text = list.toString('latin1').replace(/\bhttps:\/\/[^\s"',]+/gi, (link) => {
      const url = URL.parse(link);
      return url ? this.#plain(url) : link;
    });
    const segments = datedSegments(text, base.href);
    if (segments.size > 0) this.#segments = segments;
    this.recordedAt ??= segments.values().next().value?.date;
    return Buffer.from(text, 'latin1');
  }

  /** @returns whether it may go on */
  #count(bytes: number, list: Buffer | undefined): boolean {
    this.#bytes += bytes;
    const most = list
      ? list.includes('#EXT-X-STREAM-INF')
        ? MAX_MASTER_LIST_BYTES
        : MAX_LIST_BYTES
      : MAX_BYTES_WITHOUT_PACKET;
    if (this.#bytes <= most) return true;
    this.problem = new SourceError(`${most / 1024} KiB without a picture`, true);
    return false;
  }

  #refuse(answer: ServerResponse, problem: SourceError): void {
    this.problem = problem;
    if (answer.headersSent) answer.destroy();
    else answer.writeHead(403).end();
  }
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

function passedOn({ headers }: IncomingMessage): Record<string, string | string[] | undefined> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
}
