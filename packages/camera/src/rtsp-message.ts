/** RTSP 1.0 messages on the wire: RFC 2326. */

export interface RtspRequest {
  method: string;
  url: string;
  /** Names in lower case. */
  headers: Record<string, string>;
}

/** The bytes are not an RTSP request, or exceed a limit. */
export class MalformedRequestError extends Error {
  override readonly name = 'MalformedRequestError';
}

const MAX_HEADER_BYTES = 8 * 1024;
const MAX_BODY_BYTES = 16 * 1024;

/** Splits a client's bytes into requests, and skips interleaved packets: its RTCP reports (RFC 2326, 10.12). */
export class RequestReader {
  #pending: Buffer = Buffer.alloc(0);

  /**
   * @returns the requests that `bytes` complete
   * @throws MalformedRequestError; the connection can't be read any further
   */
  push(bytes: Buffer): RtspRequest[] {
    this.#pending = this.#pending.length > 0 ? Buffer.concat([this.#pending, bytes]) : bytes;
    const requests: RtspRequest[] = [];
    for (;;) {
      const before = this.#pending.length;
      const request = this.#next();
      if (request) requests.push(request);
      if (this.#pending.length === before) return requests;
    }
  }

  #next(): RtspRequest | undefined {
    const bytes = this.#pending;
    if (bytes[0] === 0x24) {
      const end = bytes.length < 4 ? Number.POSITIVE_INFINITY : 4 + bytes.readUInt16BE(2);
      if (bytes.length >= end) this.#pending = bytes.subarray(end);
      return undefined;
    }
    const head = bytes.subarray(0, MAX_HEADER_BYTES).indexOf('\r\n\r\n');
    if (head < 0) {
      if (bytes.length >= MAX_HEADER_BYTES) throw new MalformedRequestError('request header is too long');
      return undefined;
    }
    const request = parseRequest(bytes.toString('latin1', 0, head));
    const length = Number(request.headers['content-length'] ?? 0);
    if (!(length >= 0 && length <= MAX_BODY_BYTES)) throw new MalformedRequestError('body is too long');
    const end = head + 4 + length;
    if (bytes.length < end) return undefined;
    this.#pending = bytes.subarray(end);
    return request;
  }
}

/** @throws MalformedRequestError */
export function parseRequest(text: string): RtspRequest {
  const [requestLine = '', ...lines] = text.replace(/^(\r\n)+/, '').split('\r\n');
  const match = /^([A-Z_]{1,32}) (\S{1,2048}) RTSP\/1\.\d$/.exec(requestLine);
  if (!match) throw new MalformedRequestError('not a request line');
  const headers: Record<string, string> = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) throw new MalformedRequestError('not a header line');
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
export type Status = keyof typeof REASONS;

export interface RtspResponse {
  status: Status;
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

/** Transport that a client asks for (RFC 2326, 12.39). The first port or channel is for RTP, the second for RTCP. */
export type Transport =
  | { kind: 'tcp'; channels: [number, number] }
  | { kind: 'udp'; ports: [number, number] };

/** The first of the offered transports that is supported; `undefined` when there is none. */
export function chooseTransport(header: string, freeChannel: number): Transport | undefined {
  for (const offer of header.split(',')) {
    const [profile = '', ...parameters] = offer.trim().split(';');
    const value = (name: string) =>
      parameters.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
    if (/^RTP\/AVP\/TCP$/i.test(profile)) {
      const channels = pair(value('interleaved') ?? `${freeChannel}-${freeChannel + 1}`, 255);
      if (channels) return { kind: 'tcp', channels };
    } else if (/^RTP\/AVP(\/UDP)?$/i.test(profile) && !parameters.includes('multicast')) {
      const ports = pair(value('client_port') ?? '', 65_535);
      if (ports) return { kind: 'udp', ports };
    }
  }
  return undefined;
}

function pair(text: string, max: number): [number, number] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const second = Number(match[2] ?? first + 1);
  return first <= max && second <= max ? [first, second] : undefined;
}
