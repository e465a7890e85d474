import { FRAMING } from './rtp-pictures.ts';
import { SourceError } from './source-error.ts';

const MAX_HEAD_BYTES = 32 * 1024;
/** Enough for a session description of many tracks; that of a camera has two kilobytes. */
const MAX_BODY_BYTES = 256 * 1024;

/** A request or an answer (RFC 2326, 4); each character is a byte. */
export interface Message {
  /** Without the empty line after it. */
  head: string;
  body: string;
}

export interface RequestMessage {
  method: string;
  uri: string;
  /** The headers after the request line. */
  rest: string;
}

/** @throws SourceError */
export function parseRequest(head: string): RequestMessage {
  const [, method, uri = '', rest = ''] = /^([A-Z_]+) (\S+) RTSP\/1\.\d\r\n(.*)$/s.exec(head) ?? [];
  if (!method) throw new SourceError('open: a connection to the local proxy is not RTSP');
  return { method, uri, rest: `\r\n${rest}\r\n\r\n` };
}

/** @param name in lower case */
export function valuesOf(head: string, name: string): string[] {
  return head
    .split('\r\n')
    .filter((line) => line.toLowerCase().startsWith(`${name}:`))
    .map((line) => line.slice(name.length + 1).trim());
}

const TRANSPORT = /\r\ntransport:[^\r\n]*/i;

/** @param head the start of a message, or its headers @returns it with another Transport header */
export function withTransport(head: string, transport: string): string {
  const header = `\r\nTransport: ${transport}`;
  return TRANSPORT.test(head) ? head.replace(TRANSPORT, header) : head + header;
}

/** The two channels that a Transport header names, the smaller one first (RFC 2326, 12.39). */
export function channelsOf(header: string): [number, number] | undefined {
  const [, first, second] = /interleaved=(\d+)(?:-(\d+))?/i.exec(header) ?? [];
  if (first === undefined) return undefined;
  const [one, other] = [Number(first), Number(second ?? Number(first) + 1)];
  return one < other ? [one, other] : [other, one];
}

/** Separates the messages of an RTSP connection from interleaved packets (RFC 2326, 10.12). */
export class RtspSplitter {
  readonly #onPacket: (framed: Buffer) => void;
  readonly #onMessage: (message: Message) => void;
  /** The start of a message or a packet. */
  #pending: Buffer = Buffer.alloc(0);

  /** @param onPacket called with whole packets and their four bytes of framing, in order */
  constructor(onPacket: (framed: Buffer) => void, onMessage: (message: Message) => void) {
    this.#onPacket = onPacket;
    this.#onMessage = onMessage;
  }

  /** @throws SourceError when the data is no RTSP, or a message is too large */
  push(more: Buffer): void {
    const bytes = this.#pending.length > 0 ? Buffer.concat([this.#pending, more]) : more;
    let at = 0;
    while (at < bytes.length) {
      const end = bytes[at] === 0x24 ? this.#packet(bytes, at) : this.#message(bytes, at);
      if (end === undefined) break;
      at = end;
    }
    this.#pending = bytes.subarray(at);
  }

  /** @returns where the packet ends; undefined when it is not whole yet */
  #packet(bytes: Buffer, start: number): number | undefined {
    const end =
      bytes.length - start < FRAMING ? bytes.length + 1 : start + FRAMING + bytes.readUInt16BE(start + 2);
    if (end > bytes.length) return undefined;
    this.#onPacket(bytes.subarray(start, end));
    return end;
  }

  /** @returns where the message ends; undefined when it is not whole yet */
  #message(bytes: Buffer, start: number): number | undefined {
    const end = bytes.subarray(start, start + MAX_HEAD_BYTES).indexOf('\r\n\r\n');
    if (end < 0 && bytes.length - start >= MAX_HEAD_BYTES)
      throw new SourceError('open: the answer is not RTSP');
    if (end < 0) return undefined;
    const head = bytes.toString('latin1', start, start + end);
    const length = Number(/\r\ncontent-length: *(\S+)/i.exec(head)?.[1] ?? 0);
    if (!(length >= 0 && length <= MAX_BODY_BYTES))
      throw new SourceError('open: its session description has no bounds');
    const body = start + end + 4;
    if (bytes.length < body + length) return undefined;
    this.#onMessage({ head, body: bytes.toString('latin1', body, body + length) });
    return body + length;
  }
}
