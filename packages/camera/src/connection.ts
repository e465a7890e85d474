import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Authenticator } from './auth.ts';
import type { Channel, Playback } from './channel.ts';
import {
  formatResponse,
  MalformedMessageError,
  parseRequest,
  type RtspRequest,
  type RtspResponse,
  RtspSplitter,
} from './rtsp-message.ts';
import { TRACK } from './sdp.ts';
import { acceptTransport, type UdpPair } from './session.ts';

export interface ServerContext {
  /** Channels, by the first part of the URL's path. */
  channels: ReadonlyMap<string, Channel>;
  udp: UdpPair;
  authenticator: Authenticator | undefined;
  /** A client that is silent for this long is disconnected. */
  sessionTimeoutSeconds: number;
}

/** Most bytes of a request. */
const MAX_BYTES = { head: 8 * 1024, body: 16 * 1024 };
/** Most bytes that a client may leave unread when it asks for more: eight times what pictures may take. */
const MAX_UNREAD = 8 * 1024 * 1024;
const METHODS = 'OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN';

/**
 * Serves one RTSP connection with at most one session, as RTSP clients use it. The session ends with its connection, or
 * when the client is silent for the session timeout.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #shared: ServerContext;
  /** Interleaved packets are the client's RTCP reports, which are not read. */
  readonly #reader = new RtspSplitter(
    () => {},
    ({ head }) => this.#respond(parseRequest(head)),
    MAX_BYTES,
  );
  #session: { id: string; playing: Playback } | undefined;
  #playing = false;
  #timeout: ReturnType<typeof setTimeout>;

  constructor(socket: Socket, shared: ServerContext) {
    this.#socket = socket;
    this.#shared = shared;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => this.#receive(bytes));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(this.#timeout);
      this.#teardown();
    });
    this.#timeout = setTimeout(() => socket.destroy(), shared.sessionTimeoutSeconds * 1000);
  }

  #receive(bytes: Buffer): void {
    this.#timeout.refresh();
    try {
      this.#reader.push(bytes);
    } catch (error) {
      if (!(error instanceof MalformedMessageError)) throw error;
      this.#teardown();
      this.#socket.end(formatResponse({ status: 400, headers: { Connection: 'close' } }));
      this.#socket.removeAllListeners('data').resume();
    }
  }

  #respond(request: RtspRequest): void {
    this.#socket.write(formatResponse(this.#answer(request), request.headers.cseq));
    if (request.method === 'TEARDOWN') this.#teardown();
    // A client that asks and never reads would fill the memory.
    if (this.#socket.writableLength > MAX_UNREAD) this.#socket.destroy();
  }

  #answer(request: RtspRequest): RtspResponse {
    const { authenticator } = this.#shared;
    if (request.method === 'OPTIONS') return { status: 200, headers: { Public: METHODS } };
    if (authenticator && !authenticator.accepts(request)) {
      return { status: 401, headers: { 'WWW-Authenticate': authenticator.challenges } };
    }
    switch (request.method) {
      case 'DESCRIBE':
        return this.#describe(request);
      case 'SETUP':
        return this.#setup(request);
      case 'PLAY':
        return this.#withSession(request, () => this.#play(request));
      case 'TEARDOWN':
      case 'GET_PARAMETER':
      case 'SET_PARAMETER':
        return this.#withSession(request, () => ({ status: 200, headers: this.#sessionHeader() }));
      case 'PAUSE':
        return { status: 455, headers: { Allow: METHODS } };
      default:
        return { status: 501, headers: { Public: METHODS } };
    }
  }

  #describe(request: RtspRequest): RtspResponse {
    const camera = cameraOf(request.url);
    const channel = this.#shared.channels.get(camera);
    if (!channel) return { status: 404 };
    const base = `${request.url.replace(/\/$/, '')}/`;
    const body = channel.describe(camera, this.#socket.localAddress ?? '0.0.0.0');
    if (body === undefined) return { status: 503 };
    return { status: 200, headers: { 'Content-Type': 'application/sdp', 'Content-Base': base }, body };
  }

  #setup(request: RtspRequest): RtspResponse {
    const { channels, udp } = this.#shared;
    const channel = channels.get(cameraOf(request.url));
    if (!channel) return { status: 404 };
    if (this.#session) return { status: 455 };
    const transport = acceptTransport(request.headers.transport ?? '', this.#socket, udp);
    if (!transport) return { status: 461 };
    const playing = channel.play(transport.outlet, () => this.#socket.destroy());
    this.#session = { id: randomUUID().replaceAll('-', ''), playing };
    const ssrc = playing.ssrc?.toString(16).padStart(8, '0').toUpperCase();
    const accepted = ssrc === undefined ? transport.accepted : `${transport.accepted};ssrc=${ssrc}`;
    return { status: 200, headers: { ...this.#sessionHeader(), Transport: accepted } };
  }

  #play(request: RtspRequest): RtspResponse {
    const playing = this.#session?.playing;
    if (!playing) return { status: 454 };
    const url = request.url.replace(/\/$/, '').replace(new RegExp(`/${TRACK}$`), '');
    const info = playing.first && { 'RTP-Info': `url=${url}/${TRACK};${playing.first}` };
    // Started after the answer, since with TCP both use the same connection.
    if (!this.#playing) setImmediate(() => this.#session?.playing === playing && playing.start());
    this.#playing = true;
    return { status: 200, headers: { ...this.#sessionHeader(), Range: 'npt=0.000-', ...info } };
  }

  #withSession({ headers }: RtspRequest, answer: () => RtspResponse): RtspResponse {
    const named = headers.session?.split(';')[0];
    // Without a session, a client may still check that the server is alive (RFC 2326, 10.8).
    if (named === undefined && !this.#session) return { status: headers.cseq ? 200 : 400 };
    return named === this.#session?.id ? answer() : { status: 454 };
  }

  #sessionHeader(): Record<string, string> {
    const timeout = this.#shared.sessionTimeoutSeconds;
    return this.#session ? { Session: `${this.#session.id};timeout=${timeout}` } : {};
  }

  #teardown(): void {
    this.#session?.playing.stop();
    this.#session = undefined;
    this.#playing = false;
  }
}

/** `yard` of `rtsp://host:8554/yard/trackID=0?x=y`; '' when the URL names no camera. */
function cameraOf(url: string): string {
  return /^rtsps?:\/\/[^/]+\/([^/?]+)/i.exec(url)?.[1] ?? '';
}
