import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connectTo, portOf, type Target, withoutBrackets } from '@video-pipeline/outbound';
import { type Authorization, authorizationOf } from './authorization.ts';
import type { Gate } from './ffmpeg-source.ts';
import { MAX_BYTES_WITHOUT_PACKET } from './limits.ts';
import { codecsOf, FRAMING, type RtpEvents, RtpPictures } from './rtp-pictures.ts';
import { UdpTrack } from './rtp-udp.ts';
import { type Message, parseRequest, type RequestMessage, RtspSplitter, valuesOf } from './rtsp-splitter.ts';
import { openTunnel } from './rtsp-tunnel.ts';
import type { Damage, SourceOptions, Transport } from './source.ts';
import { connectionError, SourceError, statusError } from './source-error.ts';

/** Methods that must succeed before packets are sent. */
const OPENING = new Set(['DESCRIBE', 'SETUP', 'PLAY']);

const TRANSPORT = /\r\ntransport:[^\r\n]*/i;

type RtspOptions = Pick<SourceOptions, 'transport' | 'damage' | 'relay' | 'track'>;

/** A request of FFmpeg. */
interface Request extends RequestMessage {
  isRepeated?: boolean;
  /** For a SETUP: the track's UDP sockets, if its packets do not come over this connection. */
  track?: UdpTrack;
}

/** A connection of FFmpeg, and the connection to the camera. */
interface Line {
  client: Socket;
  camera: Duplex;
  asked: Request[];
  /** UDP tracks by RTP channel. */
  tracks: Map<number, UdpTrack>;
}

/**
 * A local proxy between FFmpeg and an RTSP camera (RFC 2326). It sends the password, which FFmpeg never gets, handles
 * redirects and error codes, and passes complete pictures to FFmpeg over TCP. FFmpeg itself would follow every
 * redirect, and send packets to any host that a camera names.
 */
export class RtspGate implements Gate {
  readonly #url: URL;
  readonly #transport: Transport;
  readonly #damage: Damage | undefined;
  readonly #relay: SourceOptions['relay'];
  readonly #track: number;
  readonly #server = createServer((client) => void this.#serve(client));
  readonly #sockets = new Set<Duplex>();
  #own = '';
  readonly #udp = new Set<UdpTrack>();
  readonly #authorization: Authorization | undefined;
  #codecs: ReadonlyMap<number, string> = new Map();
  #bytes = 0;
  gaps = 0;
  problem: SourceError | undefined;
  /** Target of the camera's redirect. */
  location: string | undefined;

  private constructor(url: URL, { transport, damage, relay, track = 0 }: RtspOptions) {
    this.#url = url;
    // TLS works with TCP only.
    this.#transport = url.protocol === 'rtsps:' && transport !== 'http' ? 'tcp' : transport;
    this.#damage = damage;
    this.#relay = relay;
    this.#track = track;
    this.#authorization = authorizationOf(url);
  }

  static async open(url: URL, options: RtspOptions = { transport: 'tcp' }): Promise<RtspGate> {
    const gate = new RtspGate(url, options);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    gate.#own = `rtsp://127.0.0.1:${(gate.#server.address() as AddressInfo).port}`;
    return gate;
  }

  /** URL for FFmpeg. */
  get address(): string {
    return `${this.#own}${this.#url.pathname}${this.#url.search}`;
  }

  onPacket(): void {
    this.#bytes = 0;
  }

  close(): void {
    this.#server.close();
    this.#relay?.end();
    for (const socket of this.#sockets) socket.destroy();
    for (const track of this.#udp) track.close();
    this.#udp.clear();
  }

  async #serve(client: Socket): Promise<void> {
    // FFmpeg connects once and at once. Later connections come from other programs or from web pages.
    this.#server.close();
    this.#keep(client);
    const gone = new AbortController();
    client.once('close', () => gone.abort());
    let camera: Duplex;
    try {
      // No await before the listeners are added: a socket may fail at once.
      camera = this.#transport === 'http' ? await this.#tunnel(gone.signal) : connectTo(this.#target);
    } catch (error) {
      this.#end(client, connectionError(error as Error));
      return;
    }
    this.#keep(camera);
    gone.signal.addEventListener('abort', () => camera.destroy());
    if (client.destroyed) return void camera.destroy();
    camera.once('error', (error) => this.#end(client, connectionError(error)));
    camera.once('close', () => client.end());
    const line: Line = { client, camera, asked: [], tracks: new Map() };
    const reports = (framed: Buffer) => {
      const track = line.tracks.get((framed[1] ?? 0) & 0xfe);
      if (track) track.report(framed.subarray(FRAMING));
      else camera.write(framed);
    };
    this.#read(client, camera, reports, (message) => this.#ask(line, message));
    this.#read(camera, client, this.#pictures(line), (message) => this.#answer(line, message));
  }

  get #target(): Target {
    const host = withoutBrackets(this.#url.hostname);
    return { host, port: portOf(this.#url), tls: this.#url.protocol === 'rtsps:' };
  }

  #tunnel(signal: AbortSignal): Promise<Duplex> {
    return openTunnel(this.#target, `${this.#url.pathname}${this.#url.search}`, this.#authorization, signal);
  }

  #read(
    from: Duplex,
    to: Duplex,
    onPacket: (framed: Buffer) => void,
    onMessage: (message: Message) => void | Promise<void>,
  ): void {
    const fail = (error: unknown) => {
      this.#end(to, error as SourceError);
      from.destroy();
      to.destroy();
    };
    const splitter = new RtspSplitter(onPacket, (message) => {
      Promise.resolve(onMessage(message)).catch(fail);
    });
    to.on('drain', () => from.resume());
    from.on('data', (bytes) => {
      try {
        this.#count(bytes.length);
        splitter.push(bytes);
      } catch (error) {
        fail(error);
      }
      if (to.writableNeedDrain) from.pause();
    });
  }

  /** @returns a handler of the camera's packets. It passes RTP on by complete pictures, and RTCP at once. */
  #pictures({ client }: Line): (framed: Buffer) => void {
    const channels = new Map<number, RtpPictures>();
    // FFmpeg sets up the tracks in their order, with two channels for each.
    const relayed = (framed: Buffer | undefined) => (framed?.[1] ?? 0) >> 1 === this.#track;
    const events: RtpEvents = {
      picture: (packets, mark) => {
        if (relayed(packets[0])) this.#relay?.rtp(packets.map((one) => one.subarray(FRAMING)));
        // A UDP sender can't be paused: pictures are dropped instead.
        if (client.writableLength > MAX_BYTES_WITHOUT_PACKET) return false;
        client.cork();
        for (const packet of mark ? [mark, ...packets] : packets) client.write(packet);
        client.uncork();
        return true;
      },
      gap: () => {
        this.gaps += 1;
      },
      lost: () => {
        if (this.#damage) this.#damage.lost += 1;
      },
    };
    return (framed) => {
      const channel = framed[1] ?? 0;
      if ((channel & 1) === 1) {
        if (relayed(framed)) this.#relay?.rtcp(framed.subarray(FRAMING));
        return void client.write(framed);
      }
      let pictures = channels.get(channel);
      if (!pictures) {
        pictures = new RtpPictures(this.#codecs, events);
        channels.set(channel, pictures);
      }
      pictures.push(framed);
    };
  }

  /** @throws SourceError */
  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= MAX_BYTES_WITHOUT_PACKET) return;
    throw new SourceError(`${MAX_BYTES_WITHOUT_PACKET / 1024} KiB without a picture`, true);
  }

  async #ask(line: Line, { head }: Message): Promise<void> {
    const request: Request = parseRequest(head);
    if (request.uri.startsWith(this.#own)) {
      request.uri = `${this.#url.protocol}//${this.#url.host}${request.uri.slice(this.#own.length)}`;
    }
    if (request.method === 'SETUP' && this.#transport === 'udp') request.track = await this.#openTrack(line);
    this.#send(line, request);
  }

  /** @param head of the answer that names a multicast group; without it, the track is unicast */
  async #openTrack({ client, camera }: Line, head?: string): Promise<UdpTrack> {
    const { remoteAddress = '127.0.0.1', localAddress } = camera as Socket;
    const group = head && valuesOf(head, 'transport').join();
    const opening =
      group === undefined ? UdpTrack.open(remoteAddress) : UdpTrack.join(remoteAddress, group, localAddress);
    const track = await opening;
    // The gate may have closed meanwhile.
    if (client.destroyed) {
      track.close();
      throw new SourceError('open: interrupted');
    }
    this.#udp.add(track);
    return track;
  }

  #send({ camera, asked }: Line, request: Request): void {
    asked.push(request);
    const { method, uri, rest, track } = request;
    const authorization = this.#authorization?.header(method, uri);
    const more = authorization ? `Authorization: ${authorization}\r\n` : '';
    const wanted = track ? `unicast;client_port=${track.ports}` : 'multicast';
    const isUdp = track || this.#transport === 'udp_multicast';
    const headers = isUdp ? rest.replace(TRANSPORT, `\r\nTransport: RTP/AVP;${wanted}`) : rest;
    camera.write(`${method} ${uri} RTSP/1.0\r\n${more}${headers.replace(/^\r\n/, '')}`);
  }

  /** @throws SourceError */
  async #answer(line: Line, { head, body }: Message): Promise<void> {
    const request = line.asked.shift();
    const [, status = 0, reason = ''] = /^RTSP\/1\.\d (\d+) ?(.*)/.exec(head) ?? [];
    const code = Number(status);
    if (code === 401 && request && this.#authorization && !request.isRepeated) {
      this.#authorization.challenge(valuesOf(head, 'www-authenticate'));
      return this.#send(line, { ...request, isRepeated: true });
    }
    if (code === 461 && request?.method === 'SETUP' && this.#transport === 'auto' && !request.track) {
      return this.#send(line, { ...request, track: await this.#openTrack(line) });
    }
    if (code >= 300 && code < 400) {
      [this.location] = valuesOf(head, 'location');
      throw new SourceError(`open: it redirects (${code})`);
    }
    // A camera may refuse all other methods.
    if (request && OPENING.has(request.method)) {
      const text = `${request.method} was answered ${code} ${reason}`;
      this.problem = code >= 400 ? statusError(code, text) : undefined;
    }
    if (request?.method === 'DESCRIBE' && code === 200) {
      this.#relay?.begin(body, this.#track);
      this.#codecs = codecsOf(body);
    }
    if (request?.method === 'SETUP' && code === 200 && this.#transport === 'udp_multicast') {
      request.track = await this.#openTrack(line, head);
    }
    const forwarded = request?.track && code === 200 ? this.#setUp(line, request, request.track, head) : head;
    line.client.write(`${forwarded}\r\n\r\n${body}`);
  }

  /** Connects a UDP track. Packets and reports are exchanged with the camera's own address only, whatever it names. */
  #setUp(line: Line, { rest }: Request, track: UdpTrack, head: string): string {
    const [channels = '0-1'] = /(?<=interleaved=)\d+-\d+/.exec(rest) ?? [];
    const channel = Number(channels.split('-')[0]);
    line.tracks.set(channel, track);
    track.receive(channel, this.#pictures(line));
    const [ports] = /(?<=server_port=)\d+(-\d+)?/.exec(valuesOf(head, 'transport').join()) ?? [];
    if (ports) track.sendTo(ports);
    return head.replace(TRANSPORT, `\r\nTransport: RTP/AVP/TCP;unicast;interleaved=${channels}`);
  }

  #end(client: Duplex, problem: SourceError): void {
    this.problem ??= problem;
    client.end();
  }

  #keep(socket: Duplex): void {
    this.#sockets.add(socket);
    // The close event handles the other end.
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
