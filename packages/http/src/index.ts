export { HttpError } from './http-error.ts';
export { refuseDenseJson } from './json.ts';
export {
  addCounter,
  addGauge,
  metricsServer,
  processRegistry,
  type Sample,
  serveMetrics,
} from './metrics.ts';
export { createOrigin, isLink, isLoopback, type Origin, refusePages } from './origin.ts';
export { createHttp, type HttpOptions, RETRY_AFTER_SECONDS } from './server.ts';
