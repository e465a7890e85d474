import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { connectTo, portOf } from '@video-pipeline/outbound';
import { Authorization } from './authorization.ts';
import type { Gate } from './ffmpeg-source.ts';
import { MAX_BYTES_WITHOUT_PACKET } from './limits.ts';
import { type Message, RtspSplitter } from './rtsp-splitter.ts';
import { connectionError, SourceError, statusError } from './source-error.ts';

/** What must be granted for packets to come. */
const OPENING = new Set(['DESCRIBE', 'SETUP', 'PLAY']);

interface Request {
  method: string;
  uri: string;
  /** All that comes after the request line. */
  rest: string;
  isRepeated: boolean;
}

/**
 * Stands between FFmpeg and an RTSP camera (RFC 2326), on this machine alone. It shows the password, which FFmpeg never
 * learns, and takes redirects and errors by their number; packets go through as they are. FFmpeg would follow a redirect
 * anywhere, and send packets to whatever host a camera names for its own.
 */
export class RtspGate implements Gate {
  readonly #url: URL;
  readonly #server = createServer((client) => this.#serve(client));
  readonly #sockets = new Set<Socket>();
  #own = '';
  readonly #authorization: Authorization | undefined;
  #bytes = 0;
  problem: SourceError | undefined;
  /** Where the camera redirects to. */
  location: string | undefined;

  private constructor(url: URL) {
    this.#url = url;
    const decode = (text: string) => decodeURIComponent(text.replace(/%(?![\da-f]{2})/gi, '%25'));
    if (url.username) {
      this.#authorization = new Authorization({ user: decode(url.username), password: decode(url.password) });
    }
  }

  static async open(url: URL): Promise<RtspGate> {
    const gate = new RtspGate(url);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    gate.#own = `rtsp://127.0.0.1:${(gate.#server.address() as AddressInfo).port}`;
    return gate;
  }

  /** What FFmpeg opens. */
  get address(): string {
    return `${this.#own}${this.#url.pathname}${this.#url.search}`;
  }

  onPacket(): void {
    this.#bytes = 0;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(client: Socket): void {
    // FFmpeg connects once and at once. Whoever comes later is none of ours: others of this machine, web pages.
    this.#server.close();
    this.#keep(client);
    let camera: Socket;
    try {
      const host = this.#url.hostname.replace(/^\[|\]$/g, '');
      camera = connectTo({ host, port: portOf(this.#url), tls: this.#url.protocol === 'rtsps:' });
    } catch (error) {
      this.#end(client, new SourceError(`open: ${(error as Error).message}`, true));
      return;
    }
    this.#keep(camera);
    camera.once('error', (error) => this.#end(client, connectionError(error)));
    camera.once('close', () => client.end());
    client.once('close', () => camera.destroy());
    const asked: Request[] = [];
    this.#read(client, camera, (message) => {
      const request = parseRequest(message.head);
      if (request.uri.startsWith(this.#own)) {
        request.uri = `${this.#url.protocol}//${this.#url.host}${request.uri.slice(this.#own.length)}`;
      }
      asked.push(request);
      camera.write(this.#format(request));
    });
    this.#read(camera, client, (message) => {
      const again = this.#answer(message, asked.shift());
      if (again) {
        asked.unshift(again);
        camera.write(this.#format(again));
      } else client.write(this.#passedOn(message, camera));
    });
  }

  /** Passes on the packets among `from`'s messages, and gives the messages. */
  #read(from: Socket, to: Socket, onMessage: (message: Message) => void): void {
    const splitter = new RtspSplitter((packets) => {
      if (!to.write(packets)) from.pause();
    }, onMessage);
    to.on('drain', () => from.resume());
    from.on('data', (bytes) => {
      try {
        this.#count(bytes.length);
        splitter.push(bytes);
      } catch (error) {
        this.#end(to, error as SourceError);
        from.destroy();
        to.destroy();
      }
    });
  }

  /** @throws SourceError */
  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= MAX_BYTES_WITHOUT_PACKET) return;
    throw new SourceError(`${MAX_BYTES_WITHOUT_PACKET / 1024} KiB without a picture`, true);
  }

  /**
   * @returns the request to be made again, with the password
   * @throws SourceError
   */
  #answer({ head }: Message, request: Request | undefined): Request | undefined {
    const [, status = 0, reason = ''] = /^RTSP\/1\.\d (\d+) ?(.*)/.exec(head) ?? [];
    const code = Number(status);
    if (code === 401 && request && this.#authorization && !request.isRepeated) {
      this.#authorization.challenge(valuesOf(head, 'www-authenticate'));
      return { ...request, isRepeated: true };
    }
    if (code >= 300 && code < 400) {
      [this.location] = valuesOf(head, 'location');
      throw new SourceError(`open: it redirects (${code})`);
    }
    // A camera need not know the other methods. Where a transport is refused FFmpeg may have another.
    if (!request || !OPENING.has(request.method)) return undefined;
    this.problem =
      code >= 400 ? statusError(code, `${request.method} was answered ${code} ${reason}`) : undefined;
    return undefined;
  }

  #format({ method, uri, rest }: Request): string {
    const authorization = this.#authorization?.header(method, uri);
    const line = authorization ? `Authorization: ${authorization}\r\n` : '';
    return `${method} ${uri} RTSP/1.0\r\n${line}${rest}`;
  }

  /** Packets over UDP come from, and reports go to, the camera that was asked, whatever it says. */
  #passedOn({ head, body }: Message, camera: Socket): string {
    const source = camera.remoteAddress ?? '';
    const text = head.replace(/^(transport: *RTP\/AVP(?:\/UDP)?;(?!.*interleaved).*)$/im, (line) => {
      return `${line.replace(/;(source|destination)=[^;\r\n]*/gi, '').trimEnd()};source=${source}`;
    });
    return `${text}\r\n\r\n${body}`;
  }

  #end(client: Socket, problem: SourceError): void {
    this.problem ??= problem;
    client.end();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    // The other end hears of it by the close.
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

/** @throws SourceError */
function parseRequest(head: string): Request {
  const [, method, uri = '', rest = ''] = /^([A-Z_]+) (\S+) RTSP\/1\.\d\r\n(.*)$/s.exec(head) ?? [];
  if (!method) throw new SourceError('open: something else than FFmpeg came to its connection');
  return { method, uri, rest: `${rest}\r\n\r\n`, isRepeated: false };
}

function valuesOf(head: string, name: string): string[] {
  return head
    .split('\r\n')
    .filter((line) => line.toLowerCase().startsWith(`${name}:`))
    .map((line) => line.slice(name.length + 1).trim());
}
