import { SourceError } from './source-error.ts';

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
  const lines = new RegExp(`(?<=^|\r\n)${name}[ \\t]*:([^\r\n]*)`, 'gi');
  return [...head.matchAll(lines)].map(([, value = '']) => value.trim());
}

/** Id of the session, without its timeout (RFC 2326, 12.37); empty without a session. */
export function sessionOf(head: string): string {
  return (valuesOf(head, 'session')[0] ?? '').replace(/\s*;.*/, '');
}

/**
 * @param head the start of a message, or its headers
 * @param values of its headers; one that is undefined stays as it is
 */
export function withHeaders(head: string, values: Record<string, string | undefined>): string {
  let changed = head;
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const line = `\r\n${name}: ${value}`;
    const former = new RegExp(`\r\n${name}[ \\t]*:[^\r\n]*`, 'i');
    changed = former.test(changed)
      ? changed.replace(former, () => line)
      : changed.replace(/\r\n|$/, (end) => line + end);
  }
  return changed;
}

/** The two channels that a Transport header names, the smaller one first (RFC 2326, 12.39). */
export function channelsOf(header: string): [number, number] | undefined {
  const [, first, second] = /interleaved=(\d+)(?:-(\d+))?/i.exec(header) ?? [];
  if (first === undefined) return undefined;
  const [one, other] = [Number(first), Number(second ?? Number(first) + 1)];
  return one < other ? [one, other] : [other, one];
}
