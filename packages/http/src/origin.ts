import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { HttpError } from './http-error.ts';

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]', '::1']);

/**
 * Whether only this machine can reach a server on `host`.
 * @example
 * ['127.0.0.1', '0.0.0.0'].map(isLoopback); // => [true, false]
 */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host) || host.startsWith('127.');
}

/** Origin of a request, according to the browser. Other programs usually send none. */
export type Source = 'own' | 'foreign' | 'unknown';

/** A server's own names, and the pages of its own origin. */
export interface Origin {
  /** First part of every path, without a slash at its end. Empty, unless a proxy adds one. */
  prefix: string;
  /**
   * Whether the request names one of the server's names as its host. A page that uses DNS rebinding sends its own name.
   */
  isOurs(request: FastifyRequest): boolean;
  sourceOf(request: FastifyRequest): Source;
  /** Whether the browser uses TLS, to this server or to the proxy before it. */
  isSecure(request: FastifyRequest): boolean;
}

/**
 * @param host address that the server listens on; if other machines can reach it, the server's IP addresses and host
 * name are valid names
 * @param publicUrl the server's URL for browsers, behind a proxy
 */
export function createOrigin(host: string, publicUrl?: string): Origin {
  const url = publicUrl === undefined ? undefined : new URL(publicUrl);
  const isOpen = !isLoopback(host);
  const isName = (name: string) =>
    LOOPBACK.has(name) ||
    name === host ||
    name === url?.hostname ||
    // DNS can't point an IP address, or a name without a dot, to another machine.
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

/** A proxy may send the name without its port. The port can't be compared then. */
function isOwn(origin: URL, host: string, publicUrl: URL | undefined): boolean {
  if (origin.origin === publicUrl?.origin) return true;
  return origin.host === host || (origin.hostname === host && !/:\d+$/.test(host));
}

function nameOf(host = ''): string {
  return host.replace(/:\d+$/, '').toLowerCase();
}

/**
 * Protects a server for programs. It refuses requests that a web page makes a browser send. On a loopback address it
 * also refuses requests for another host name, as in DNS rebinding. Following a link is allowed.
 * @param host address that the server listens on
 */
export function refusePages(app: FastifyInstance, host: string): void {
  const { isOurs, sourceOf } = createOrigin(host);
  const notOurs = 'this server answers to localhost, not to this name: HOST says which address it listens on';
  app.addHook('onRequest', async (request) => {
    // On other addresses a server has many names: of services, load balancers and containers.
    if (isLoopback(host) && !isOurs(request)) throw new HttpError(403, notOurs);
    if (sourceOf(request) !== 'unknown' && !isLink(request))
      throw new HttpError(403, 'web pages may not use this server');
  });
}

/** Whether the browser only displays the answer, so that no page can read it. */
export function isLink({ method, headers }: FastifyRequest): boolean {
  const reads = method === 'GET' || method === 'HEAD';
  return reads && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}
