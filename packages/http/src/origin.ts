import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { HttpError } from './http-error.ts';

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]', '::1']);

/** Whether only this machine can reach a server on `host`. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host) || host.startsWith('127.');
}

/** Where a request comes from, as the browser says; programs mostly say nothing. */
export type Source = 'own' | 'foreign' | 'unknown';

/** What a server takes for itself: its names, and the pages that are its own. */
export interface Origin {
  /** First part of every path, without a slash at its end; empty without a proxy that adds one. */
  prefix: string;
  /** Whether the request was sent to one of our names. A page whose DNS name was pointed here sends its own. */
  isOurs(request: FastifyRequest): boolean;
  sourceOf(request: FastifyRequest): Source;
  /** Whether the browser speaks TLS, with us or with the proxy in front of us. */
  isSecure(request: FastifyRequest): boolean;
}

/**
 * @param host address that it listens on; one that others can reach gives it its addresses and own name too
 * @param publicUrl where browsers see it behind a proxy
 */
export function createOrigin(host: string, publicUrl?: string): Origin {
  const url = publicUrl === undefined ? undefined : new URL(publicUrl);
  const isOpen = !isLoopback(host);
  const isName = (name: string) =>
    LOOPBACK.has(name) ||
    name === host ||
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

/**
 * For a server that programs speak to: refuses what the page of any site makes a browser send, and on a loopback address
 * what was sent to another name than this machine's, as by a page whose DNS name was pointed here. A link may lead to it.
 * @param host address that it listens on
 */
export function refusePages(app: FastifyInstance, host: string): void {
  const { isOurs, sourceOf } = createOrigin(host);
  app.addHook('onRequest', async (request) => {
    // Elsewhere its names are many: those of services, load balancers, containers.
    if (isLoopback(host) && !isOurs(request))
      throw new HttpError(
        403,
        'this server answers to localhost, not to this name: HOST says which address it listens on',
      );
    if (sourceOf(request) !== 'unknown' && !isLink(request))
      throw new HttpError(403, 'web pages may not use this server');
  });
}

/** Whether the browser shows the answer by itself, where no page can read it. */
export function isLink({ method, headers }: FastifyRequest): boolean {
  const reads = method === 'GET' || method === 'HEAD';
  return reads && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}
