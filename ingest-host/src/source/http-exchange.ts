import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { JpegSplitter, MULTIPART, partOf } from './jpeg-parts.ts';

/** Headers of one connection only (RFC 9110, 7.6.1), or between FFmpeg and this proxy. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'upgrade'];
const FORWARDED = ['content-type', 'content-length', 'content-range', 'accept-ranges'];

/** A request of FFmpeg, and the work in progress for it. */
export interface Exchange {
  url: URL;
  request: IncomingMessage;
  response: ServerResponse;
  upstream?: ClientRequest;
  timer?: NodeJS.Timeout;
  /** Conditional headers for a snapshot, so that only a new one is sent (RFC 9110, 13.1). */
  validators: Record<string, string>;
  last?: { jpeg: Buffer; at: number };
}

/** Receives the body of a response. */
export interface BodyHandler {
  /** @returns false to pause the sender */
  data(bytes: Buffer): boolean;
  end(): void;
  /** Limit of the body in bytes; default: the limit of a packet. */
  limit?(): number;
}

/** Finds JPEGs in the body and passes them to FFmpeg as multipart. @param end called with their number */
export function jpegHandler(exchange: Exchange, end: (count: number) => void): BodyHandler {
  const { response } = exchange;
  if (!response.headersSent) response.writeHead(200, { 'content-type': MULTIPART });
  let hasRoom = true;
  let count = 0;
  const splitter = new JpegSplitter((jpeg) => {
    count += 1;
    hasRoom = response.write(partOf(jpeg));
    exchange.last = { jpeg, at: performance.now() };
  });
  const data = (bytes: Buffer) => {
    splitter.push(bytes);
    return hasRoom;
  };
  return { data, end: () => end(count) };
}

/** The headers of a camera's answer that FFmpeg needs, printable characters only: a camera may send anything. */
export function responseHeaders({ headers }: IncomingMessage, names = FORWARDED): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' ? [[name, value.replace(/[^ -~]/g, '')]] : [];
    }),
  );
}

/** The headers of FFmpeg's request that are sent to the camera. */
export function requestHeaders({ headers }: IncomingMessage): IncomingMessage['headers'] {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
}
