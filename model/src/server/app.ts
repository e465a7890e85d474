import type { Logger } from '@video-pipeline/telemetry';
import fastify, { type FastifyError, type FastifyInstance } from 'fastify';
import { admitAtHeaders, RETRY_AFTER_SECONDS } from './admission.ts';
import { describeError, RequestError } from './errors.ts';
import { refuseDenseJson } from './json.ts';
import { addOpenInference } from './open-inference.ts';
import { addOpenApi, healthAnswers } from './openapi.ts';
import { addPredict } from './predict.ts';
import { addSageMaker } from './sagemaker.ts';
import type { Service } from './service.ts';

/** The HTTP server, not listening yet. */
export async function createApp(service: Service, logger: Logger): Promise<FastifyInstance> {
  const { maxBodyBytes, requestMs } = service.limits;
  const app = fastify({
    bodyLimit: maxBodyBytes,
    forceCloseConnections: 'idle',
    // Who sends a byte now and then would hold one of the places of MAX_CONCURRENT_REQUESTS for ever.
    requestTimeout: requestMs,
    http: {
      requestTimeout: requestMs,
      headersTimeout: requestMs,
      connectionsCheckingInterval: Math.ceil(requestMs / 10),
    },
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const answer = describeError(error, request);
    service.metrics.errors.inc({ kind: answer.limit ?? error.name });
    if (answer.status >= 500) logger.error(`${request.method} ${request.url} failed`, error);
    if (answer.status === 429) reply.header('retry-after', String(RETRY_AFTER_SECONDS));
    reply.status(answer.status).send({ error: answer.error, limit: answer.limit });
  });
  answerOtherMethods(app);
  refuseEncodings(app);
  guardJson(app);
  await addOpenApi(app);
  closeConnectionsAtStop(app, service);
  admitAtHeaders(app, service);
  measureRequests(app, service);
  addHealth(app, service);
  addPredict(app, service);
  addSageMaker(app, service);
  await addOpenInference(app, service);
  return app;
}

/** 405 where the path is there for other methods, 404 where it is not. */
function answerOtherMethods(app: FastifyInstance): void {
  const routes: { method: string; path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replace(/:\w+/g, '[^/]+')}/?$`);
    for (const one of [method].flat()) routes.push({ method: one, path });
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const allowed = routes.filter((route) => route.path.test(path)).map(({ method }) => method);
    const what = `there is no ${request.method} ${request.url}`;
    if (allowed.length === 0) throw new RequestError(404, what);
    reply.header('allow', allowed.join(', '));
    throw new RequestError(405, `${what}; there is ${allowed.join(', ')}`);
  });
}

/** A compressed body would have to be inflated within a limit, and pictures are compressed already. */
function refuseEncodings(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding === 'identity') return;
    throw new RequestError(415, `a body in content-encoding '${encoding}' is not read; send it as it is`);
  });
}

function guardJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      refuseDenseJson(body);
    } catch (error) {
      return done(error as Error);
    }
    parse(request, body.toString(), done);
  });
}

function addHealth(app: FastifyInstance, service: Service): void {
  const schema = { summary: 'Whether the models run, and where', response: healthAnswers };
  app.get('/health', { schema }, (_request, reply) => {
    const [detector] = service.detectors().values();
    const isReady = service.isReady() && detector !== undefined;
    reply.status(isReady ? 200 : 503);
    if (!detector) return { status: 'warming up' };
    const { model, device, precision, fallback } = detector;
    const { name, version } = model;
    const status = isReady ? 'healthy' : 'unavailable';
    return { status, model: name, version, device, precision, device_fallback: fallback };
  });
  app.get('/metrics', { schema: { summary: 'Prometheus metrics' } }, async (_request, reply) => {
    const { registry } = service.metrics;
    reply.type(registry.contentType);
    return registry.metrics();
  });
}

// A connection that is busy when the stop begins would otherwise be kept open, and the stop wait for it.
function closeConnectionsAtStop(app: FastifyInstance, service: Service): void {
  app.addHook('onSend', async (_request, reply) => {
    if (!service.isReady()) reply.header('connection', 'close');
  });
}

function measureRequests(app: FastifyInstance, service: Service): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    service.metrics.requests.observe({ route, status: reply.statusCode }, reply.elapsedTime / 1000);
  });
}
