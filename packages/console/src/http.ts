import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';

import { messageOf } from './reachability.ts';

/** What a route answers with. */
export interface Reply {
  status?: number;
  type: string;
  body: Buffer | string;
  headers?: OutgoingHttpHeaders;
}

export interface RouteRequest {
  /** Named groups of the route's path. */
  params: Record<string, string>;
  query: URLSearchParams;
  request: IncomingMessage;
  response: ServerResponse;
}

export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  path: RegExp;
  /** `undefined` when it has taken the response over. */
  handle: (request: RouteRequest) => Promise<Reply | undefined> | Reply | undefined;
}

/** A request that gets an answer of 4xx. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A client that takes nothing for so long is let go. */
const STALLED_MS = 30_000;
/** Longer than a load balancer's 60 s, which could otherwise send a request just as we close its connection. */
const KEEP_ALIVE_MS = 75_000;
const MAX_CONNECTIONS = 512;
const MAX_BODY_BYTES = 4_096;

const SECURITY_HEADERS = {
  // Pictures are drawn from blobs; nothing comes from, or goes to, another host.
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};

export function json(value: unknown, status = 200): Reply {
  return {
    status,
    type: 'application/json; charset=utf-8',
    body: JSON.stringify(value),
    headers: { 'cache-control': 'no-store' },
  };
}

/**
 * A server of these routes.
 * @param guard throws an HttpError, or answers in the route's place, when a request may not go on
 * @param prefix what a proxy may have put before each path
 */
export function createRoutes(
  routes: readonly Route[],
  guard: (request: IncomingMessage, path: string) => Reply | undefined,
  onError: (error: Error, path: string) => void,
  prefix = '',
): Server {
  const server = createServer(async (request, response) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    let path = '';
    try {
      const url = addressOf(request, prefix);
      path = url.pathname;
      const reply = guard(request, path) ?? (await dispatch(routes, url, request, response));
      if (reply) send(response, reply);
    } catch (error) {
      const status = error instanceof HttpError ? error.status : 502;
      if (!(error instanceof HttpError)) onError(error as Error, path);
      const said = error instanceof HttpError ? error.message : messageOf(error as Error);
      send(response, json({ error: isTimeout(error) ? `S3 does not answer: ${said}` : said }, status));
    }
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = STALLED_MS;
  server.headersTimeout = STALLED_MS;
  server.setTimeout(STALLED_MS);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  return server;
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError';
}

/** @throws HttpError for a target that is no path, such as `//` */
function addressOf({ url = '/' }: IncomingMessage, prefix: string): URL {
  try {
    return new URL(url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : url, 'http://console');
  } catch {
    throw new HttpError(400, 'not an address');
  }
}

async function dispatch(
  routes: readonly Route[],
  url: URL,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Reply | undefined> {
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  let isPathKnown = false;
  for (const route of routes) {
    const match = route.path.exec(url.pathname);
    if (!match) continue;
    isPathKnown = true;
    if (route.method !== method) continue;
    return route.handle({ params: { ...match.groups }, query: url.searchParams, request, response });
  }
  throw isPathKnown ? new HttpError(405, 'method not allowed') : new HttpError(404, 'not found');
}

function send(response: ServerResponse, { status = 200, type, body, headers }: Reply): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), ...headers });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** @throws HttpError when the body is over 4 KiB */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new HttpError(413, `body is over ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
