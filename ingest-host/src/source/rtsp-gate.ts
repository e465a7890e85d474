import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Message, RtspSplitter } from '@video-pipeline/camera';
import { connectTo, portOf, withoutBrackets } from '@video-pipeline/outbound';
import { type Authorization, authorizationOf } from './authorization.ts';
import { type ClockRange, clockRange, inPositions, withRange } from './clock-range.ts';
import type { Gate } from './ffmpeg-source.ts';
import { MAX_BYTES_WITHOUT_PACKET } from './limits.ts';
import { codecsOf, FRAMING, isRecording, passPictures } from './rtp-pictures.ts';
import { UdpTrack } from './rtp-udp.ts';
import {
  channelsOf,
  parseRequest,
  type RequestMessage,
  sessionOf,
  valuesOf,
  withTransport,
} from './rtsp-headers.ts';
import { openTunnel } from './rtsp-tunnel.ts';
import type { Damage, SourceOptions, Transport } from './source.ts';
import { connectionError, SourceError, statusError } from './source-error.ts';

type RtspOptions = Pick<SourceOptions, 'transport' | 'damage' | 'relay' | 'track'>;

/** A request of FFmpeg. */
interface Request extends RequestMessage {
  /** How often it was sent before. */
  repeats?: number;
  /** For a SETUP: the track's UDP sockets, if its packets do not come over this connection. */
  track?: UdpTrack;
  /** The same request for a further session, of which FFmpeg does not know. */
  isCopy?: boolean;
}

/** A connection of FFmpeg, and the connection to the camera. */
interface Line {
  client: Socket;
  camera: Duplex;
  asked: Request[];
  /** Ids of the camera's sessions: one, but for cameras that begin one for each track. */
  sessions: Set<string>;
  /** UDP tracks by RTP channel. */
  tracks: Map<number, UdpTrack>;
  /** Channels of the track that is relayed. */
  relayed: readonly number[];
}

const redirection = (message: string, head: string) =>
  new SourceError(message, false, false, valuesOf(head, 'location')[0]);

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
  #range: ClockRange | undefined;
  #codecs: ReadonlyMap<number, string> = new Map();
  #bytes = 0;
  gaps = 0;
  problem: SourceError | undefined;
  /** Whether it is a recording, by its session description. */
  hasEnd = false;

  private constructor(url: URL, { transport, damage, relay, track = 0 }: RtspOptions) {
    this.#url = url;
    // TLS works with TCP only.
    this.#transport = url.protocol === 'rtsps:' && transport !== 'http' ? 'tcp' : transport;
    this.#damage = damage;
    this.#relay = relay;
    this.#track = track;
    this.#authorization = authorizationOf(url);
    this.#range = clockRange(url.hash);
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

  get recordedAt(): number | undefined {
    return this.#range?.begin;
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
      const reached = this.#reach(gone.signal);
      camera = reached instanceof Promise ? await reached : reached;
    } catch (error) {
      this.#end(client, connectionError(error as Error));
      return;
    }
    this.#keep(camera);
    gone.signal.addEventListener('abort', () => camera.destroy());
    if (client.destroyed) return void camera.destroy();
    camera.once('error', (error) => this.#end(client, connectionError(error)));
    camera.once('close', () => client.end());
    const line: Line = { client, camera, asked: [], sessions: new Set(), tracks: new Map(), relayed: [] };
    const reports = (framed: Buffer) => {
      const track = line.tracks.get((framed[1] ?? 0) & 0xfe);
      if (track) track.report(framed.subarray(FRAMING));
      else camera.write(framed);
    };
    this.#read(client, camera, reports, (message) => this.#ask(line, message));
    this.#read(camera, client, this.#pictures(line), (message) => this.#answer(line, message));
  }

  #reach(signal: AbortSignal): Duplex | Promise<Duplex> {
    const { hostname, protocol, pathname, search } = this.#url;
    const target = { host: withoutBrackets(hostname), port: portOf(this.#url), tls: protocol === 'rtsps:' };
    if (this.#transport !== 'http') return connectTo(target);
    return openTunnel(target, `${pathname}${search}`, this.#authorization, signal);
  }

  #read(
    from: Duplex,
    to: Duplex,
    onPacket: (framed: Buffer) => void,
    onMessage: (message: Message) => void | Promise<void>,
  ): void {
    const fail = (error: unknown) => {
      this.#end(to, connectionError(error as Error));
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

  /** @returns a handler of the camera's packets */
  #pictures(line: Line): (framed: Buffer) => void {
    const relayOf = (framed: Buffer) => (line.relayed.includes(framed[1] ?? -1) ? this.#relay : undefined);
    const [codecs, damage] = [() => this.#codecs, this.#damage];
    return passPictures(line.client, { codecs, relayOf, losses: this, damage });
  }

  /** @throws SourceError */
  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= MAX_BYTES_WITHOUT_PACKET) return;
    throw new SourceError(`${MAX_BYTES_WITHOUT_PACKET / 1024} KiB without a picture`, true);
  }

  async #ask(line: Line, { head }: Message): Promise<void> {
    const request: Request = parseRequest(head);
    if (request.uri.startsWith(this.#own))
      request.uri = `${this.#url.protocol}//${this.#url.host}${request.uri.slice(this.#own.length)}`;
    if (request.method === 'SETUP' && this.#transport === 'udp') request.track = await this.#openTrack(line);
    this.#send(line, request);
    const session = sessionOf(head);
    for (const other of session && request.method !== 'SETUP' ? line.sessions : [])
      if (other !== session)
        this.#send(line, { ...request, rest: request.rest.replace(session, other), isCopy: true });
  }

  /** @param head of the answer that names a multicast group; without it, the track is unicast */
  async #openTrack({ client, camera }: Line, head?: string): Promise<UdpTrack> {
    const { remoteAddress = '127.0.0.1', localAddress } = camera as Socket;
    const track = head
      ? await UdpTrack.join(remoteAddress, valuesOf(head, 'transport').join(), localAddress)
      : await UdpTrack.open(remoteAddress);
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
    const ranged = method === 'PLAY' && this.#range ? withRange(rest, this.#range) : rest;
    const headers = isUdp ? withTransport(ranged, `RTP/AVP;${wanted}`) : ranged;
    camera.write(`${method} ${uri} RTSP/1.0\r\n${more}${headers.replace(/^\r\n/, '')}`, 'latin1');
  }

  /** @throws SourceError */
  async #answer(line: Line, { head, body }: Message): Promise<void> {
    const [, status, reason = ''] = /^RTSP\/1\.\d (\d+) ?(.*)/.exec(head) ?? [];
    const code = Number(status);
    // A request of the camera: whether this end is alive, or to go on at another place (RFC 2326, 10.8, 10.10).
    if (!status) {
      line.camera.write(`RTSP/1.0 200 OK\r\nCSeq: ${valuesOf(head, 'cseq')}\r\n\r\n`);
      if (head.startsWith('REDIRECT ')) throw redirection('the camera goes on at another place', head);
      return;
    }
    // The camera needs more time.
    if (code < 200) return;
    const request = line.asked.shift();
    const challenges = code === 401 ? valuesOf(head, 'www-authenticate') : undefined;
    if (request && challenges && this.#authorization?.challenge(challenges, request.repeats))
      return this.#send(line, { ...request, repeats: (request.repeats ?? 0) + 1 });
    if (code === 461 && request?.method === 'SETUP' && this.#transport === 'auto' && !request.track)
      return this.#send(line, { ...request, track: await this.#openTrack(line) });
    if (code >= 300 && code < 400) throw redirection(`open: it redirects (${code})`, head);
    if (request?.isCopy) return;
    // A camera may refuse all other methods.
    if (request && /^(DESCRIBE|SETUP|PLAY)$/.test(request.method))
      this.problem =
        code < 400 ? undefined : statusError(code, `${request.method} was answered ${code} ${reason}`);
    if (request?.method === 'DESCRIBE' && code === 200) {
      this.#relay?.begin(body, this.#track);
      this.#codecs = codecsOf(body);
      this.hasEnd = isRecording(body);
      this.#range ??= clockRange(body);
      if (this.#range) return void line.client.write(inPositions(head, body, this.#range), 'latin1');
    }
    const isSetUp = request?.method === 'SETUP' && code === 200;
    if (isSetUp) line.sessions.add(sessionOf(head));
    if (isSetUp && this.#transport === 'udp_multicast') request.track = await this.#openTrack(line, head);
    line.client.write(`${isSetUp ? this.#setUp(line, request, head) : head}\r\n\r\n${body}`, 'latin1');
  }

  /** @returns the camera's answer to a SETUP, with the channels in a form that FFmpeg understands */
  #setUp(line: Line, { rest, track }: Request, head: string): string {
    const transport = valuesOf(head, 'transport').join();
    if (!track && transport !== '' && !/tcp|interleaved/i.test(transport)) return head;
    const asked = channelsOf(rest) ?? [0, 1];
    const channels = (track ? undefined : channelsOf(transport)) ?? asked;
    // FFmpeg asks for two channels for each track, in their order.
    if (asked[0] >> 1 === this.#track) line.relayed = channels;
    if (track) {
      // Packets and reports are exchanged with the camera's own address only, whatever it names.
      line.tracks.set(channels[0], track);
      track.receive(channels[0], this.#pictures(line));
      const [ports] = /(?<=server_port=)\d+(-\d+)?/.exec(transport) ?? [];
      if (ports) track.sendTo(ports);
    }
    return withTransport(head, `RTP/AVP/TCP;unicast;interleaved=${channels.join('-')}`);
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
