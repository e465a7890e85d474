import { createHttp, HttpError, refusePages, serveMetrics } from '@video-pipeline/http';
import type { Logger } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import { OverloadedError } from '../detector.ts';
import { InferenceError } from '../inference-pool.ts';
import { admitAtHeaders } from './admission.ts';
import { addOpenInference } from './open-inference.ts';
import { addOpenApi, healthAnswers } from './openapi.ts';
import { addPredict } from './predict.ts';
import { addSageMaker } from './sagemaker.ts';
import type { Service } from './service.ts';

/** No fault of the server: it is still loading, or the client's own deadline has passed. */
const NO_FAULT = new Set([503, 504]);

/** The HTTP server, not listening yet. */
export async function createApp(service: Service, logger: Logger): Promise<FastifyInstance> {
  const { maxBodyBytes, requestMs } = service.limits;
  const app = createHttp({
    requestMs,
    maxBodyBytes,
    bodySetting: 'MAX_BODY_BYTES',
    explain,
    onError(error, { statusCode, limit, message }, { method, url }) {
      service.metrics.errors.inc({ kind: limit ?? error.name });
      if (NO_FAULT.has(statusCode)) logger.warn(`${method} ${url}: ${message}`);
      else if (statusCode >= 500) logger.error(`${method} ${url} failed`, error);
    },
    // Tests check the schemas, not each start: compiling the meta-schema takes longer than compiling all of them.
    fastify: { forceCloseConnections: 'idle', ajv: { customOptions: { validateSchema: false } } },
  });
  refusePages(app, service.host ?? '127.0.0.1');
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

function explain(error: Error): HttpError | undefined {
  if (error instanceof OverloadedError) return new HttpError(429, error.message, 'MAX_QUEUED_FRAMES');
  if (error instanceof InferenceError) return new HttpError(500, error.message);
  if (error.name === 'TimeoutError') return new HttpError(504, 'the deadline of the request has passed');
  return undefined;
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
  app.get('/models', { schema: { summary: 'The models in service, the default one first' } }, () => ({
    models: [...service.detectors().values()].map(({ model: { name, version, head, classNames } }) => ({
      ...{ name, version, head, classes: classNames },
    })),
  }));
  serveMetrics(app, service.metrics.registry);
}

// Without this header a busy connection would stay open, and the shutdown would wait for it.
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
