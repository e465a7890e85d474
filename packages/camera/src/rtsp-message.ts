/** RTSP 1.0 messages on the wire: RFC 2326. */

export interface RtspRequest {
  method: string;
  url: string;
  /** Names in lower case. */
  headers: Record<string, string>;
}

/** The bytes are not RTSP, or exceed a limit. */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError';
}

/** A request or an answer; each character is a byte. */
export interface Message {
  /** Without the empty line after it; each header as `Name: value`. */
  head: string;
  body: string;
}

/** Bytes before an interleaved packet: `$`, its channel and its length (RFC 2326, 10.12). */
export const FRAMING = 4;
/** Most bytes of a message. A session description of many tracks is long; that of a camera has two kilobytes. */
const MAX_BYTES = { head: 32 * 1024, body: 256 * 1024 };

/**
 * Separates the messages of an RTSP connection from interleaved packets (RFC 2326, 10.12). Between packets it skips what
 * is neither, as some cameras send parts of packets.
 */
export class RtspSplitter {
  readonly #onPacket: (framed: Buffer) => void;
  readonly #onMessage: (message: Message) => void;
  readonly #max: typeof MAX_BYTES;
  /** The start of a message or a packet. */
  #pending: Buffer = Buffer.alloc(0);
  /** Channels of the packets that have come. */
  readonly #channels = new Set<number>();
  /** Whether the next bytes are neither a packet nor a message. */
  #isLost = false;

  /** @param onPacket called with whole packets and their four bytes of framing, in order */
  constructor(onPacket: (framed: Buffer) => void, onMessage: (message: Message) => void, max = MAX_BYTES) {
    this.#onPacket = onPacket;
    this.#onMessage = onMessage;
    this.#max = max;
  }

  /** @throws MalformedMessageError; the connection can't be read any further */
  push(more: Buffer): void {
    const bytes = this.#pending.length > 0 ? Buffer.concat([this.#pending, more]) : more;
    let at = 0;
    while (at < bytes.length) {
      const end = this.#step(bytes, at);
      if (end === undefined) break;
      at = end;
    }
    this.#pending = bytes.subarray(at);
  }

  /** @returns where the packet or the message at `at` ends; undefined when it is not whole yet */
  #step(bytes: Buffer, at: number): number | undefined {
    if (!this.#isLost) {
      if (bytes[at] === 0x24) return this.#packet(bytes, at);
      // Some cameras send an empty line after a message, or count the last one of a body as none of it.
      if (bytes[at] === 0x0d || bytes[at] === 0x0a) return at + 1;
      if (this.#channels.size === 0 || isStart(bytes, at)) return this.#message(bytes, at);
    }
    const next = this.#nextPacket(bytes, at);
    this.#isLost = next + FRAMING >= bytes.length;
    return this.#isLost && next === at ? undefined : next;
  }

  #packet(bytes: Buffer, start: number): number | undefined {
    const end =
      bytes.length - start < FRAMING ? bytes.length + 1 : start + FRAMING + bytes.readUInt16BE(start + 2);
    if (end > bytes.length) return undefined;
    // If nothing begins at its end, but a packet within it, its own end is missing.
    const next = isStart(bytes, end) ? end : this.#nextPacket(bytes, start + FRAMING);
    if (next < end) return next + FRAMING < bytes.length ? next : undefined;
    this.#channels.add(bytes[start + 1] ?? 0);
    this.#onPacket(bytes.subarray(start, end));
    return end;
  }

  /** @returns where the next packet of a known channel begins, by the version of RTP and RTCP, or may begin at the end */
  #nextPacket(bytes: Buffer, from: number): number {
    for (let at = bytes.indexOf(0x24, from); at >= 0; at = bytes.indexOf(0x24, at + 1)) {
      const first = bytes[at + FRAMING];
      if (first === undefined || (first >> 6 === 2 && this.#channels.has(bytes[at + 1] ?? 0))) return at;
    }
    return bytes.length;
  }

  #message(bytes: Buffer, start: number): number | undefined {
    const text = bytes.toString('latin1', start, start + this.#max.head);
    const [whole, lines = ''] = /^(.*?)\r?\n\r?\n/s.exec(text) ?? [];
    if (whole === undefined && text.length >= this.#max.head)
      throw new MalformedMessageError('the bytes are not RTSP');
    if (whole === undefined) return undefined;
    // In one form for all who read it, FFmpeg too: lines may end without CR, and blanks stand before a colon.
    const head = lines.replace(/\r?\n([\w-]+)[ \t]*:[ \t]*/g, '\r\n$1: ');
    const length = Number(/\r\ncontent-length: (\S+)/i.exec(head)?.[1] ?? 0);
    if (!Number.isInteger(length) || !(length >= 0 && length <= this.#max.body))
      throw new MalformedMessageError(`a message has a bad content-length, or over ${this.#max.body} bytes`);
    const body = start + whole.length;
    if (bytes.length < body + length) return undefined;
    this.#onMessage({ head, body: bytes.toString('latin1', body, body + length) });
    return body + length;
  }
}

/** Whether a packet, an empty line or the first word of a message begins there, or the bytes end. */
function isStart(bytes: Buffer, at: number): boolean {
  const isOther = () => /^(?:$|[\r\n]|[A-Z_]{1,32}(?:[ /]|$))/.test(bytes.toString('latin1', at, at + 33));
  return bytes[at] === 0x24 || isOther();
}

/** @throws MalformedMessageError */
export function parseRequest(text: string): RtspRequest {
  const [requestLine = '', ...lines] = text.replace(/^(\r\n)+/, '').split('\r\n');
  const match = /^([A-Z_]{1,32}) (\S{1,2048}) RTSP\/1\.\d$/.exec(requestLine);
  if (!match) throw new MalformedMessageError('not a request line');
  const headers: Record<string, string> = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) throw new MalformedMessageError('not a header line');
    headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { method: match[1] ?? '', url: match[2] ?? '', headers };
}

/** Status codes of our answers (RFC 2326, 7.1.1). */
const REASONS = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  454: 'Session Not Found',
  455: 'Method Not Valid in This State',
  461: 'Unsupported Transport',
  501: 'Not Implemented',
  503: 'Service Unavailable',
} as const;

export interface RtspResponse {
  status: keyof typeof REASONS;
  headers?: Record<string, string | string[]>;
  body?: string;
}

/** @param sequence the request's CSeq, which is returned unchanged (RFC 2326, 12.17) */
export function formatResponse({ status, headers = {}, body = '' }: RtspResponse, sequence = '0'): string {
  const all: Record<string, string | string[]> = { CSeq: sequence, ...headers };
  if (body) all['Content-Length'] = String(Buffer.byteLength(body));
  const lines = Object.entries(all).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}: ${one}`),
  );
  return `RTSP/1.0 ${status} ${REASONS[status]}\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
}
