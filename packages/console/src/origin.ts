import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { TLSSocket } from 'node:tls';

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]', '::1']);

/** Whether only this machine can reach a server on `host`. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host) || host.startsWith('127.');
}

/** Where a request comes from, as the browser says; programs mostly say nothing. */
export type Source = 'own' | 'foreign' | 'unknown';

/** What the console takes for itself: its names, and the pages that are its own. */
export interface Origin {
  /** First part of every path, without a slash at its end; empty without a proxy that adds one. */
  prefix: string;
  /** Whether the request was sent to one of our names. A page whose DNS name was pointed here sends its own. */
  isOurs(request: IncomingMessage): boolean;
  sourceOf(request: IncomingMessage): Source;
  /** Whether the browser speaks TLS, with us or with the proxy in front of us. */
  isSecure(request: IncomingMessage): boolean;
}

/**
 * @param publicUrl where browsers see the console behind a proxy
 * @param isOpen whether others than this machine may speak to the console: then by its addresses and own name too
 */
export function createOrigin(publicUrl: string | undefined, isOpen: boolean): Origin {
  const url = publicUrl === undefined ? undefined : new URL(publicUrl);
  const isName = (name: string) =>
    LOOPBACK.has(name) ||
    name === url?.hostname ||
    // Nobody can point the DNS of an address, or of a name without a dot, at another machine.
    (isOpen && (isIP(name.replace(/^\[|\]$/g, '')) !== 0 || name === hostname().toLowerCase()));
  return {
    prefix: url?.pathname.replace(/\/+$/, '') ?? '',
    isOurs: ({ headers }) => isName(nameOf(headers.host)),
    sourceOf({ headers }) {
      const site = headers['sec-fetch-site'];
      if (site === 'same-origin') return 'own';
      if (site === 'cross-site' || site === 'same-site') return 'foreign';
      const { origin } = headers;
      if (origin === undefined) return 'unknown';
      return URL.canParse(origin) && isOwn(new URL(origin), headers.host ?? '', url) ? 'own' : 'foreign';
    },
    isSecure: ({ headers, socket }) =>
      url?.protocol === 'https:' ||
      (socket as TLSSocket).encrypted === true ||
      headers['x-forwarded-proto'] === 'https',
  };
}

/** A proxy may pass the name on without its port: then the port can't be compared. */
function isOwn(origin: URL, host: string, publicUrl: URL | undefined): boolean {
  if (origin.origin === publicUrl?.origin) return true;
  return origin.host === host || (origin.hostname === host && !/:\d+$/.test(host));
}

function nameOf(host = ''): string {
  return host.replace(/:\d+$/, '').toLowerCase();
}
