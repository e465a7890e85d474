import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import { HttpError } from './http-error.ts';
import { refuseDenseJson } from './json.ts';

/** Seconds after which a client that got 429 should ask again. */
export const RETRY_AFTER_SECONDS = 1;

/** Most connections at the same time. Each takes some memory and a file descriptor. */
const MAX_CONNECTIONS = 4_096;

interface HttpOptions {
  /** Longest time that a client may take to send a request, milliseconds. */
  requestMs: number;
  /** Largest body, bytes. */
  maxBodyBytes: number;
  bodySetting?: string;
  maxConnections?: number;
  /**
   * Turns an error of the server's work into an answer. Without it, or without its answer, the client gets 'internal
   * error'.
   */
  explain?: (error: Error) => HttpError | undefined;
  onError?: (error: Error, answer: HttpError, request: FastifyRequest) => void;
  fastify?: FastifyServerOptions;
}

/**
 * An HTTP server without routes, which does not listen yet. It limits time and bytes, refuses JSON that is costly to
 * parse, and answers an error with `{ error, limit? }`.
 * @example
 * const app = createHttp({ requestMs: 10_000, maxBodyBytes: 1_000 });
 * app.get('/health', () => ({ status: 'ok' }));
 * (await app.inject('/health')).json(); // => { status: 'ok' }
 */
export function createHttp(options: HttpOptions): FastifyInstance {
  const { requestMs, maxBodyBytes } = options;
  const app = fastify({
    bodyLimit: maxBodyBytes,
    // A client that sends a byte now and then would otherwise keep its connection for ever.
    requestTimeout: requestMs,
    http: {
      requestTimeout: requestMs,
      headersTimeout: requestMs,
      connectionsCheckingInterval: Math.ceil(requestMs / 10),
    },
    ...options.fastify,
  });
  app.server.maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
  app.setErrorHandler((error: FastifyError, request, reply) => {
    // A route may have its own limit.
    const { bodyLimit = maxBodyBytes } = request.routeOptions;
    const answer = answerTo(error, { ...options, maxBodyBytes: bodyLimit });
    options.onError?.(error, answer, request);
    if (answer.statusCode === 429) reply.header('retry-after', String(RETRY_AFTER_SECONDS));
    reply.status(answer.statusCode).send({ error: answer.message, limit: answer.limit });
  });
  app.removeContentTypeParser('text/plain');
  answerOtherMethods(app);
  refuseEncodings(app);
  readJson(app);
  return app;
}

function answerTo(error: FastifyError, { maxBodyBytes, bodySetting, explain }: HttpOptions): HttpError {
  if (error instanceof HttpError) return error;
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new HttpError(413, `the body is over ${maxBodyBytes} bytes`, bodySetting);
  const { statusCode = 500 } = error;
  if (statusCode < 500) return new HttpError(statusCode, error.message);
  return explain?.(error) ?? new HttpError(statusCode, 'internal error');
}

/** 405 if the path exists for other methods, otherwise 404. */
function answerOtherMethods(app: FastifyInstance): void {
  const routes: { method: string; path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replace(/:\w+(?:\(\^([^)]+)\))?/g, (_, is = '[^/]+') => is)}/?$`);
    for (const one of [method].flat()) routes.push({ method: one, path });
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const allowed = routes.filter((route) => route.path.test(path)).map(({ method }) => method);
    const what = `there is no ${request.method} ${request.url}`;
    if (allowed.length === 0) throw new HttpError(404, what);
    reply.header('allow', allowed.join(', '));
    throw new HttpError(405, `${what}; there is ${allowed.join(', ')}`);
  });
}

/** Compressed bodies are refused: they would need a limit on inflation, and pictures are compressed already. */
function refuseEncodings(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding === 'identity') return;
    throw new HttpError(415, `a body in content-encoding '${encoding}' is not read; send it as it is`);
  });
}

function readJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      refuseDenseJson(body);
    } catch (error) {
      return done(error as Error);
    }
    // Some clients send this type without a body.
    if (body.length === 0 && request.method === 'DELETE') return done(null, undefined);
    parse(request, body.toString(), done);
  });
}
