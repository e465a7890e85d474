export { HttpError } from './http-error.ts';
export { refuseDenseJson } from './json.ts';
export { createOrigin, isLink, isLoopback, type Origin, refusePages } from './origin.ts';
export {
  createHttp,
  type HttpOptions,
  processRegistry,
  RETRY_AFTER_SECONDS,
  serveMetrics,
} from './server.ts';
