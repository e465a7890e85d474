import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { FRAMING, type Message, RtspSplitter } from '@video-pipeline/camera';
import { connectTo, portOf, withoutBrackets } from '@video-pipeline/outbound';
import { type Authorization, authorizationOf } from './authorization.ts';
import { type ClockRange, clockRange, inPositions } from './clock-range.ts';
import type { InputProxy } from './ffmpeg-source.ts';
import { MAX_BYTES_WITHOUT_PACKET } from './limits.ts';
import { codecsOf, isRecording, passPictures } from './rtp-pictures.ts';
import { UdpTrack } from './rtp-udp.ts';
import { channelsOf, parseRequest, sessionOf, valuesOf, withHeaders } from './rtsp-headers.ts';
import { keepSessions, type Pair, type Request } from './rtsp-pair.ts';
import { openTunnel } from './rtsp-tunnel.ts';
import type { SourceOptions, Transport } from './source.ts';
import { connectionError, SourceError, statusError } from './source-error.ts';

type RtspOptions = Pick<SourceOptions, 'transport' | 'damage' | 'relay' | 'track'>;

/**
 * A local proxy between FFmpeg and an RTSP camera (RFC 2326). It sends the password, which FFmpeg never gets, handles
 * redirects and error codes, and passes complete pictures to FFmpeg over TCP. FFmpeg itself would follow every
 * redirect, and send packets to any host that a camera names.
 */
export class RtspProxy implements InputProxy {
  readonly #url: URL;
  readonly #options: RtspOptions;
  readonly #transport: Transport;
  readonly #server = createServer((client) => void this.#serve(client));
  readonly #clients = new Set<Socket>();
  #ownAddress = '';
  readonly #udp = new Set<UdpTrack>();
  readonly #authorization: Authorization | undefined;
  #range: ClockRange | undefined;
  /** Whether a recording is requested with the extensions of ONVIF's replay (ONVIF Streaming, 6). */
  #isOnvif = true;
  #codecs: ReadonlyMap<number, string> = new Map();
  #bytes = 0;
  gaps = 0;
  problem: SourceError | undefined;
  /** Whether it is a recording, by its session description. */
  hasEnd = false;

  private constructor(url: URL, options: RtspOptions) {
    this.#url = url;
    this.#options = options;
    // TLS works with TCP only.
    const isTcp = url.protocol === 'rtsps:' && options.transport !== 'http';
    this.#transport = isTcp ? 'tcp' : options.transport;
    this.#authorization = authorizationOf(url);
    this.#range = clockRange(url.hash);
  }

  static async open(url: URL, options: RtspOptions = { transport: 'tcp' }): Promise<RtspProxy> {
    const proxy = new RtspProxy(url, options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    proxy.#ownAddress = `rtsp://127.0.0.1:${(proxy.#server.address() as AddressInfo).port}`;
    return proxy;
  }

  /** URL for FFmpeg. */
  get address(): string {
    return `${this.#ownAddress}${this.#url.pathname}${this.#url.search}`;
  }

  get recordedAt(): number | undefined {
    return this.#range?.begin;
  }

  isFinite(): boolean {
    return this.#range !== undefined;
  }

  onPacket(): void {
    this.#bytes = 0;
  }

  close(): void {
    this.#server.close();
    this.#options.relay?.end();
    for (const client of this.#clients) client.destroy();
    for (const track of this.#udp) track.close();
    this.#udp.clear();
  }

  async #serve(client: Socket): Promise<void> {
    // FFmpeg connects once, immediately. Later connections come from other programs or from web pages.
    this.#server.close();
    this.#clients.add(client.on('error', () => {}));
    const gone = new AbortController();
    const abort = () => gone.abort();
    client.once('close', abort);
    const { hostname, protocol, pathname, search } = this.#url;
    const target = { host: withoutBrackets(hostname), port: portOf(this.#url), tls: protocol === 'rtsps:' };
    let camera: Duplex;
    try {
      // A socket is not awaited: it may fail at once, before the listeners are added.
      camera =
        this.#transport === 'http'
          ? await openTunnel(target, `${pathname}${search}`, this.#authorization, gone.signal)
          : connectTo(target);
    } catch (error) {
      return this.#end(client, connectionError(error as Error));
    }
    camera.on('error', (error) => this.#end(client, connectionError(error)));
    if (client.destroyed) return void camera.destroy();
    camera.once('close', () => client.end());
    const lists = { pending: [], early: [], relayed: [] };
    const uri = `${protocol}//${this.#url.host}${pathname}${search}`;
    const pair: Pair = { client, camera, uri, ...lists, sessions: new Set(), tracks: new Map() };
    client.off('close', abort);
    keepSessions(pair, (request) => this.#send(pair, request));
    const reports = (framed: Buffer) => {
      const track = pair.tracks.get((framed[1] ?? 0) & 0xfe);
      if (track) track.report(framed.subarray(FRAMING));
      else camera.write(framed);
    };
    this.#read(client, camera, reports, (message) => this.#onRequest(pair, message));
    this.#read(camera, client, this.#onPackets(pair), (message) => this.#onResponse(pair, message));
  }

  #read(
    from: Duplex,
    to: Duplex,
    onPacket: (framed: Buffer) => void,
    onMessage: (message: Message) => Promise<void>,
  ): void {
    const fail = (error: unknown) => {
      this.#end(to, connectionError(error as Error));
      from.destroy();
      to.destroy();
    };
    const splitter = new RtspSplitter(onPacket, (message) => void onMessage(message).catch(fail));
    to.on('drain', () => from.resume());
    from.on('data', (bytes) => {
      try {
        this.#count(bytes);
        splitter.push(bytes);
      } catch (error) {
        fail(error);
      }
      if (to.writableNeedDrain) from.pause();
    });
  }

  /** @throws SourceError */
  #count({ length }: Buffer): void {
    this.#bytes += length;
    if (this.#bytes > MAX_BYTES_WITHOUT_PACKET)
      throw new SourceError(`${MAX_BYTES_WITHOUT_PACKET / 1024} KiB without a picture`, true);
  }

  /** @returns a handler of the camera's packets */
  #onPackets(pair: Pair): (framed: Buffer) => void {
    const { relay, damage } = this.#options;
    const relayOf = (framed: Buffer) => (pair.relayed.includes(framed[1] ?? -1) ? relay : undefined);
    const pass = passPictures(pair.client, { codecs: () => this.#codecs, relayOf, losses: this, damage });
    return (framed) => {
      pair.early.push(() => pass(framed));
      if (!pair.pending.some(({ method, isCopy }) => method === 'PLAY' && !isCopy))
        for (const one of pair.early.splice(0)) one();
    };
  }

  async #onRequest(pair: Pair, { head }: Message): Promise<void> {
    const request: Request = parseRequest(head);
    if (request.uri.startsWith(this.#ownAddress))
      request.uri = `${this.#url.protocol}//${this.#url.host}${request.uri.slice(this.#ownAddress.length)}`;
    // It does not wait for the answer.
    if (request.method === 'TEARDOWN') return;
    if (/^(OPTIONS|PLAY)$/.test(request.method)) pair.uri = request.uri;
    if (request.method === 'SETUP' && this.#transport === 'udp') request.track = await this.#openTrack(pair);
    this.#send(pair, request);
    const session = sessionOf(head);
    for (const other of session && request.method !== 'SETUP' ? pair.sessions : [])
      if (other !== session)
        this.#send(pair, { ...request, rest: withHeaders(request.rest, { Session: other }), isCopy: true });
  }

  /** @param head of the answer that names a multicast group; without it, the track is unicast */
  async #openTrack({ client, camera }: Pair, head?: string): Promise<UdpTrack> {
    const { remoteAddress = '127.0.0.1', localAddress } = camera as Socket;
    const track = head
      ? await UdpTrack.join(remoteAddress, valuesOf(head, 'transport').join(), localAddress)
      : await UdpTrack.open(remoteAddress);
    // The proxy may have closed meanwhile.
    if (client.destroyed) {
      track.close();
      throw new SourceError('open: interrupted');
    }
    this.#udp.add(track);
    return track;
  }

  #send({ camera, pending }: Pair, request: Request): void {
    pending.push(request);
    const { method, uri, rest, track } = request;
    const isUdp = method === 'SETUP' && (track || this.#transport === 'udp_multicast');
    const wanted = track ? `unicast;client_port=${track.ports}` : 'multicast';
    const isReplay = this.#range && this.#isOnvif && /^(SETUP|PLAY)$/.test(method);
    const headers = withHeaders(rest, {
      Require: isReplay ? 'onvif-replay' : undefined,
      Authorization: this.#authorization?.header(method, uri),
      Range: method === 'PLAY' ? this.#range?.text : undefined,
      Transport: isUdp ? `RTP/AVP;${wanted}` : undefined,
    });
    camera.write(`${method} ${uri} RTSP/1.0${headers}`, 'latin1');
  }

  /** @throws SourceError */
  async #onResponse(pair: Pair, { head, body }: Message): Promise<void> {
    const [, status, reason = ''] = /^RTSP\/1\.\d +(\d+) ?(.*)/.exec(head) ?? [];
    const code = Number(status);
    const { relay, track = 0 } = this.#options;
    const redirection = (text: string) => new SourceError(text, false, false, valuesOf(head, 'location')[0]);
    // A request of the camera: a keep-alive (RFC 2326, 10.8), or REDIRECT (10.10).
    if (!status) {
      pair.camera.write(`RTSP/1.0 200 OK\r\nCSeq: ${valuesOf(head, 'cseq')}\r\n\r\n`);
      if (pair.camera.writableLength > MAX_BYTES_WITHOUT_PACKET)
        throw new SourceError('it sends requests without end, and reads no answer');
      if (head.startsWith('REDIRECT ')) throw redirection('the camera redirects the stream');
      return;
    }
    // The camera needs more time.
    if (code < 200) return;
    const request = pair.pending.shift();
    const challenges = code === 401 ? valuesOf(head, 'www-authenticate') : undefined;
    if (request && challenges && this.#authorization?.challenge(challenges, request.repeats))
      return this.#send(pair, { ...request, repeats: (request.repeats ?? 0) + 1 });
    // A recorder without ONVIF refuses these extensions (RFC 2326, 11.3.14).
    if (code === 551 && request && this.#isOnvif) {
      this.#isOnvif = false;
      return this.#send(pair, request);
    }
    if (code === 461 && request?.method === 'SETUP' && this.#transport === 'auto' && !request.track)
      return this.#send(pair, { ...request, track: await this.#openTrack(pair) });
    if (code >= 300 && code < 400) throw redirection(`open: it redirects (${code})`);
    if (request?.isCopy) return;
    // Not every camera knows OPTIONS. FFmpeg would give up.
    if (request?.method === 'OPTIONS' && code !== 401)
      return void pair.client.write(`${head.replace(/\d{3}/, '200')}\r\n\r\n${body}`, 'latin1');
    // A camera may refuse all other methods.
    if (request && /^(OPTIONS|DESCRIBE|SETUP|PLAY)$/.test(request.method))
      this.problem =
        code < 400 ? undefined : statusError(code, `${request.method} was answered ${code} ${reason}`);
    if (request?.method === 'DESCRIBE' && code === 200) {
      relay?.begin(body, track);
      this.#codecs = codecsOf(body);
      this.#range ??= clockRange(body);
      this.hasEnd = this.#range !== undefined || isRecording(body);
      if (this.#range) return void pair.client.write(inPositions(head, body, this.#range), 'latin1');
    }
    const isSetUp = request?.method === 'SETUP' && code === 200;
    if (isSetUp && sessionOf(head)) pair.sessions.add(sessionOf(head));
    if (isSetUp && this.#transport === 'udp_multicast') request.track = await this.#openTrack(pair, head);
    // FFmpeg reads no timeout after a blank, and would keep the session alive too late.
    const Session = isSetUp ? valuesOf(head, 'session')[0]?.replace(/\s+/g, '') : undefined;
    const answer = isSetUp ? withHeaders(this.#setUp(pair, request, head), { Session }) : head;
    pair.client.write(`${answer}\r\n\r\n${body}`, 'latin1');
  }

  /** @returns the camera's answer to a SETUP, with the channels in a form that FFmpeg understands */
  #setUp(pair: Pair, { rest, track }: Request, head: string): string {
    const transport = valuesOf(head, 'transport').join();
    if (!track && transport !== '' && !/tcp|interleaved/i.test(transport)) return head;
    const requested = channelsOf(rest) ?? [0, 1];
    const channels = (track ? undefined : channelsOf(transport)) ?? requested;
    // FFmpeg asks for two channels for each track, in their order.
    if (requested[0] >> 1 === (this.#options.track ?? 0)) pair.relayed = channels;
    if (track) {
      // Packets and reports are exchanged with the camera's own address only, whatever it names.
      pair.tracks.set(channels[0], track);
      const onPacket = this.#onPackets(pair);
      track.receive(channels[0], (framed) => {
        try {
          // While FFmpeg does not read, pictures are dropped.
          if (!pair.client.writableNeedDrain) this.#count(framed);
          onPacket(framed);
        } catch (error) {
          this.#end(pair.client, error as SourceError);
        }
      });
      const [ports] = /(?<=server_port=)\d+(-\d+)?/.exec(transport) ?? [];
      if (ports) track.sendTo(ports);
    }
    return withHeaders(head, { Transport: `RTP/AVP/TCP;unicast;interleaved=${channels.join('-')}` });
  }

  #end(client: Duplex, problem: SourceError): void {
    this.problem ??= problem;
    client.end();
  }
}
