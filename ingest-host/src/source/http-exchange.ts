import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { JpegSplitter, MULTIPART, partOf } from './jpeg-parts.ts';

/** Between two machines alone (RFC 9110, 7.6.1), or between FFmpeg and us. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'upgrade'];
const TOLD = ['content-type', 'content-length', 'content-range', 'accept-ranges'];

/** What FFmpeg asked for, and what is under way for it. */
export interface Exchange {
  url: URL;
  asked: IncomingMessage;
  answer: ServerResponse;
  outgoing?: ClientRequest;
  timer?: NodeJS.Timeout;
  /** What a snapshot is asked for with, so that only a new one comes (RFC 9110, 13.1). */
  validators: Record<string, string>;
  last?: { jpeg: Buffer; at: number };
}

/** Takes the body of an answer. */
export interface Taker {
  /** @returns false to have it wait */
  data(bytes: Buffer): boolean;
  end(): void;
  /** Bytes that it may have; default what a packet may. */
  most?(): number;
}

/** Passes on the JPEGs among what comes, as FFmpeg reads them. @param end told how many there were */
export function jpegTaker(exchange: Exchange, end: (count: number) => void): Taker {
  const { answer } = exchange;
  if (!answer.headersSent) answer.writeHead(200, { 'content-type': MULTIPART });
  let hasRoom = true;
  let count = 0;
  const splitter = new JpegSplitter((jpeg) => {
    count += 1;
    hasRoom = answer.write(partOf(jpeg));
    exchange.last = { jpeg, at: performance.now() };
  });
  const data = (bytes: Buffer) => {
    splitter.push(bytes);
    return hasRoom;
  };
  return { data, end: () => end(count) };
}

/** Of what a camera says, only what FFmpeg goes by: it may be anything. */
export function told({ headers }: IncomingMessage, names = TOLD): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' ? [[name, value.replace(/[^ -~]/g, '')]] : [];
    }),
  );
}

/** @param headers of FFmpeg's request */
export function passedOn({ headers }: IncomingMessage): IncomingMessage['headers'] {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
}
