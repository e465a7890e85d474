import { ConfigError, StaleError } from '@video-pipeline/config';
import { createHttp, HttpError } from '@video-pipeline/http';
import { PictureError } from '@video-pipeline/picture';
import { FailedEntryError } from '@video-pipeline/recovery/failed';
import { StreamsError } from '@video-pipeline/scene';
import { QueryError } from '@video-pipeline/tables';
import { messageOf } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import { BusyError } from './single-flight.ts';

/** A client that reads nothing for this long is disconnected, milliseconds. */
const STALLED_MS = 30_000;
/** Longer than a load balancer's 60 s. Otherwise it could send a request just when we close the connection. */
const KEEP_ALIVE_MS = 75_000;
const MAX_CONNECTIONS = 512;
const MAX_BODY_BYTES = 4_096;
/** Long, since a path may name a zone in percent-encoding. */
const MAX_PART_LENGTH = 1_000;

/** The console's HTTP server without its routes. @param prefix path prefix that a proxy may add */
export function createServer(prefix: string, onError: (error: Error, path: string) => void): FastifyInstance {
  const app = createHttp({
    requestMs: STALLED_MS,
    maxBodyBytes: MAX_BODY_BYTES,
    maxConnections: MAX_CONNECTIONS,
    explain,
    onError(error, { statusCode }, { url }) {
      if (statusCode >= 500 && !(error instanceof HttpError)) onError(error, url.split('?', 1)[0] ?? '');
    },
    fastify: {
      connectionTimeout: STALLED_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      forceCloseConnections: true,
      routerOptions: {
        maxParamLength: MAX_PART_LENGTH,
        querystringParser: (text) => new URLSearchParams(text) as never,
      },
      rewriteUrl: ({ url = '/' }) => (url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : url),
    },
  });
  // A page of another site can send JSON only after a CORS preflight, which this server never allows.
  app.addContentTypeParser('*', (_request, _body, done) =>
    done(new HttpError(403, 'body must be application/json')),
  );
  return app;
}

/** Errors in a request, or in the list of streams, are shown to the client. */
function explain(error: Error): HttpError {
  if (error instanceof StreamsError) return new HttpError(422, error.message);
  if (error instanceof QueryError) return new HttpError(400, error.message);
  if (error instanceof PictureError) return new HttpError(422, `a stored picture ${error.message}`);
  if (error instanceof BusyError) return new HttpError(503, error.message);
  if ([ConfigError, StaleError, FailedEntryError].some((kind) => error instanceof kind))
    return new HttpError(409, error.message);
  const message = messageOf(error);
  return new HttpError(502, error.name === 'TimeoutError' ? `S3 does not answer: ${message}` : message);
}
