import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AllowedHosts, connectTo, portOf, withoutBrackets } from '@video-pipeline/outbound';
import { type Authorization, authorizationOf, mayGetPassword } from './authorization.ts';
import type { InputProxy } from './ffmpeg-source.ts';
import { type DatedSegment, datedSegments, MediaSequences, SegmentClock } from './hls-list.ts';
import {
  type BodyHandler,
  type Exchange,
  jpegHandler,
  requestHeaders,
  responseHeaders,
} from './http-exchange.ts';
import { partOf } from './jpeg-parts.ts';
import {
  MAX_BYTES_WITHOUT_PACKET,
  MAX_CONNECTIONS_WITHOUT_PACKET,
  MAX_LIST_BYTES,
  MAX_MASTER_LIST_BYTES,
} from './limits.ts';
import type { SourceOptions } from './source.ts';
import { connectionError, SourceError, statusError } from './source-error.ts';

// Not by `import`, which also loads Node's WebSocket and fetch.
const { createServer, request: requestOver } = process.getBuiltinModule('node:http');
/** Default interval of snapshots, seconds. */
const DEFAULT_PERIOD = 1;
/** Interval at which an unchanged snapshot is sent again, so that its source does not count as lost, milliseconds. */
const MAX_STILL_MS = 5_000;

/**
 * A local proxy for FFmpeg's HTTP requests of one source. It does TLS and authentication. Redirects, segments and keys
 * must be on hosts that {@link AllowedHosts} allows. It limits bytes and requests, which FFmpeg does not.
 */
export class HttpProxy implements InputProxy {
  readonly #url: URL;
  readonly #hosts: AllowedHosts;
  readonly #period: number | undefined;
  readonly #server = createServer((request, response) => this.#serve(request, response));
  readonly #authorization: Authorization | undefined;
  /** Each `host:port` that is reached over TLS. FFmpeg does not know of the TLS. */
  readonly #secure = new Set<string>();
  readonly #clock = new SegmentClock();
  readonly #sequences = new MediaSequences();
  #segments = new Map<string, DatedSegment>();
  #bytes = 0;
  #requests = 0;
  problem: SourceError | undefined;
  /** Whether the first answer named its length. */
  #hasLength = false;
  /** Date of a list's first segment, epoch milliseconds. */
  recordedAt: number | undefined;

  private constructor(url: URL, { hosts, period }: Pick<SourceOptions, 'hosts' | 'period'>) {
    this.#url = url;
    this.#period = period;
    this.#hosts = new AllowedHosts(url, hosts);
    this.#authorization = authorizationOf(url);
  }

  static async open(url: URL, options: Pick<SourceOptions, 'hosts' | 'period'> = {}): Promise<HttpProxy> {
    // With this variable FFmpeg could bypass the proxy.
    delete process.env.no_proxy;
    const proxy = new HttpProxy(url, options);
    proxy.#server.on('clientError', (_error, socket) => socket.destroy());
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** URL for FFmpeg. */
  get address(): string {
    return this.#plainUrl(this.#url);
  }

  /** Value of FFmpeg's option `http_proxy`. */
  get proxyUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  // Finite are a list with an end, a container with a duration, and an answer with a length. The length of a list's
  // answer means nothing, and cameras that push JPEGs state arbitrary lengths.
  isFinite(duration: number, container: string): boolean {
    return duration > 0 || (this.#hasLength && container !== 'hls' && container !== 'mpjpeg');
  }

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

  /** The URL for FFmpeg: without password and without TLS. */
  #plainUrl(url: URL): string {
    const place = `${url.hostname}:${portOf(url)}`;
    if (url.protocol === 'https:') this.#secure.add(place);
    return `http://${place}${url.pathname}${url.search}`;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    try {
      const url = URL.parse(request.url ?? '');
      // Not a request of FFmpeg, but of another program on this machine, or of a web page.
      if (url?.protocol !== 'http:') return void request.socket.destroy();
      this.#check(url);
      const segment = this.#segments.get(url.href);
      if (segment) this.#clock.requested(segment);
      const exchange: Exchange = { url, request, response, validators: {} };
      response.once('close', () => {
        exchange.upstream?.destroy();
        clearTimeout(exchange.timer);
      });
      this.#send(exchange);
    } catch (error) {
      this.#refuse(response, new SourceError((error as Error).message, true));
    }
  }

  /** @throws SourceError */
  #check(url: URL): void {
    const [host, port] = [withoutBrackets(url.hostname), portOf(url)];
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

  /** @param repeats how often it was sent before: without the password, or with a stale nonce */
  #send(exchange: Exchange, repeats = 0): void {
    const { url, request, response } = exchange;
    const [host, port, method] = [withoutBrackets(url.hostname), portOf(url), request.method ?? 'GET'];
    const path = `${url.pathname}${url.search}`;
    const tls = this.#secure.has(`${url.hostname}:${port}`);
    // Own socket: `connectTo` checks the addresses, which Node's client does not.
    const socket = connectTo({ host, port, tls });
    const own = mayGetPassword(this.#url, url.hostname, tls) ? this.#authorization : undefined;
    const authorization = own?.header(method, path);
    const upstream = requestOver({
      method,
      path,
      headers: {
        ...requestHeaders(request),
        ...exchange.validators,
        host: request.headers.host,
        ...(authorization ? { authorization } : {}),
        connection: 'close',
      },
      createConnection: () => socket,
      insecureHTTPParser: true,
    });
    exchange.upstream = upstream;
    const shouldRepeat = ({ statusCode, headersDistinct }: IncomingMessage) =>
      statusCode === 401 && own?.challenge(headersDistinct['www-authenticate'] ?? [], repeats);
    upstream.on(
      'error',
      (error) => exchange.upstream === upstream && this.#refuse(response, connectionError(error)),
    );
    upstream.once('response', (reply) => {
      reply.on('error', () => response.destroy());
      try {
        if (!shouldRepeat(reply)) return this.#forward(exchange, reply);
        this.#send(exchange, repeats + 1);
      } catch (error) {
        this.#refuse(response, error as SourceError);
      }
      upstream.destroy();
    });
    upstream.end();
  }

  #forward(exchange: Exchange, reply: IncomingMessage): void {
    const { response } = exchange;
    const { statusCode = 502, statusMessage = '', headers } = reply;
    const isGood = statusCode < 300;
    const more = statusCode < 400 ? ': its redirects lead to no video' : '';
    const text = `it was answered ${statusCode} ${statusMessage}${more}`;
    // A missing segment alone does not end the source. If the source ends then, this is the reason.
    this.problem = isGood || statusCode === 304 ? undefined : statusError(statusCode, text);
    if (isGood) this.#hasLength ||= headers['content-length'] !== undefined;
    let body: BodyHandler | undefined;
    const guarded = (step: () => void) => {
      try {
        step();
      } catch (error) {
        const { message } = error as Error;
        this.#refuse(response, error instanceof SourceError ? error : new SourceError(message, true));
      }
    };
    const onData = (bytes: Buffer) => {
      body ??= isGood ? this.#bodyHandler(exchange, reply, bytes) : this.#passThrough(exchange, reply);
      const limit = body.limit?.() ?? MAX_BYTES_WITHOUT_PACKET;
      this.#bytes += bytes.length;
      if (this.#bytes > limit) this.problem = new SourceError(`${limit / 1024} KiB without a picture`, true);
      if (this.#bytes > limit) response.destroy();
      else if (body.data(bytes) === false) {
        reply.pause();
        response.once('drain', () => reply.resume());
      }
    };
    reply.on('data', (bytes: Buffer) => guarded(() => onData(bytes)));
    reply.once('end', () =>
      guarded(() => {
        if (!body && response.headersSent) this.#poll(exchange, reply);
        else (body ?? this.#passThrough(exchange, reply)).end();
      }),
    );
  }

  /** Chooses how the body of a good answer is handled. @param start its first bytes */
  #bodyHandler(exchange: Exchange, reply: IncomingMessage, start: Buffer): BodyHandler {
    const type = reply.headers['content-type'] ?? '';
    const isJpeg = start.indexOf('ffd8ff', 0, 'hex') === 0;
    // Detected by content too: the stated type may be wrong.
    const isOne = /^image\/jpe?g/i.test(type) || (isJpeg && (this.#period !== undefined || this.#hasLength));
    if (start.toString('latin1', 0, 12).includes('#EXTM3U')) return this.#playlist(exchange, reply);
    if (isOne || isJpeg || /^multipart\//i.test(type)) return this.#jpegBody(exchange, reply, isOne);
    return this.#passThrough(exchange, reply);
  }

  #passThrough({ url, response }: Exchange, reply: IncomingMessage): BodyHandler {
    const { location } = reply.headers;
    const to = location === undefined ? undefined : URL.parse(location, url.href);
    const more = to ? { location: /^https?:$/.test(to.protocol) ? this.#plainUrl(to) : to.href } : {};
    if (!response.headersSent)
      response.writeHead(reply.statusCode ?? 502, { ...responseHeaders(reply), ...more });
    return { data: (bytes) => response.write(bytes), end: () => void response.end() };
  }

  #playlist({ url, response }: Exchange, reply: IncomingMessage): BodyHandler {
    const parts: Buffer[] = [];
    response.writeHead(200, responseHeaders(reply, ['content-type']));
    const isMaster = () => parts.some((part) => part.includes('#EXT-X-STREAM-INF'));
    return {
      limit: () => (isMaster() ? MAX_MASTER_LIST_BYTES : MAX_LIST_BYTES),
      data: (bytes) => parts.push(bytes) > 0,
      end: () => void response.end(this.#rewrite(Buffer.concat(parts), url)),
    };
  }

  /** @param isOne whether it is a snapshot, to be requested again; otherwise the camera pushes JPEGs */
  #jpegBody(exchange: Exchange, reply: IncomingMessage, isOne: boolean): BodyHandler {
    const { response } = exchange;
    return jpegHandler(exchange, (count) => {
      if (!isOne) response.end();
      else if (count <= 1) this.#poll(exchange, reply);
      else this.#refuse(response, new SourceError(`open: a file of ${count} JPEGs, without times`, true));
    });
  }

  /** Requests a snapshot again after its period. One that did not change is only sent again every few seconds. */
  #poll(exchange: Exchange, reply: IncomingMessage): void {
    const { response, last } = exchange;
    // Without this check a source that FFmpeg has closed would be requested for ever.
    if ((reply.statusCode ?? 502) >= 400 || response.destroyed) return void response.destroy();
    const { etag, 'last-modified': modified } = responseHeaders(reply, ['etag', 'last-modified']);
    if (etag) exchange.validators['if-none-match'] = etag;
    if (modified) exchange.validators['if-modified-since'] = modified;
    if (last && performance.now() - last.at > MAX_STILL_MS) {
      last.at = performance.now();
      response.write(partOf(last.jpeg));
    }
    exchange.timer = setTimeout(() => this.#send(exchange), (this.#period ?? DEFAULT_PERIOD) * 1000);
  }

  /** Reads the dates of a list's segments. @returns the list for FFmpeg */
  #rewrite(list: Buffer, base: URL): Buffer {
    // FFmpeg requests every URL over http: from this proxy, so https: links are rewritten.
    const text = list.toString('latin1').replace(/\bhttps:\/\/[^\s"',]+/gi, (link) => {
      const url = URL.parse(link);
      return url ? this.#plainUrl(url) : link;
    });
    if (this.#sequences.restarts(text, base.href)) throw new SourceError('its list begins anew');
    const segments = datedSegments(text, base.href);
    if (segments.size > 0) this.#segments = segments;
    this.recordedAt ??= segments.values().next().value?.date;
    return Buffer.from(text, 'latin1');
  }

  #refuse(response: ServerResponse, problem: SourceError): void {
    // FFmpeg has closed this request itself.
    if (response.destroyed) return;
    this.problem = problem;
    if (response.headersSent) response.destroy();
    else response.writeHead(403).end();
  }
}
