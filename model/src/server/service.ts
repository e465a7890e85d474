import { HttpError } from '@video-pipeline/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Detector, PictureResult } from '../detector.ts';
import type { Metrics } from './metrics.ts';

/** The parts of the server that every route uses. */
export interface Service {
  /** The models now in service by name, the default one first. */
  detectors(): ReadonlyMap<string, Detector>;
  /** Threshold for requests that name none, 0..1. Detections below it are left out. */
  threshold: number;
  limits: Limits;
  /** Address on which the server listens; default 127.0.0.1. */
  host?: string;
  metrics: Metrics;
  /** False until the models have run once, and from the beginning of the shutdown. */
  isReady(): boolean;
}

export interface Limits {
  /** Largest body of a request, bytes. */
  maxBodyBytes: number;
  maxFrames: number;
  maxRequests: number;
  /** Longest time a client may take to send a request, milliseconds. */
  requestMs: number;
}

/** Error message for a request before the first model is loaded. */
export const LOADING = 'the model is being loaded and warmed up';

/** Header with the longest time a client waits for its answer, milliseconds. */
const TIMEOUT_HEADER = 'x-request-timeout-ms';
/** Header with a client's id, for clients behind one address: that of a load balancer, for example. */
const CLIENT_HEADER = 'x-client-id';

/** JSON schema of the headers that {@link detect} reads. */
export const detectHeaders = {
  [TIMEOUT_HEADER]: { type: 'number', description: 'longest time to wait for the answer, milliseconds' },
  [CLIENT_HEADER]: {
    type: 'string',
    description: 'id of the client: clients are served in turn; default: the address of the connection',
  },
} as const;

/**
 * @returns the detector of model `name`; without a name, of the default model
 * @throws HttpError 404 when no model has this name, 503 while no model is loaded
 */
export function detectorFor(service: Service, name?: string): Detector {
  const detectors = service.detectors();
  if (detectors.size === 0) throw new HttpError(503, LOADING);
  const detector = name === undefined ? detectors.values().next().value : detectors.get(name);
  if (detector) return detector;
  throw new HttpError(404, `no model '${name}'; there are: ${[...detectors.keys()].join(', ')}`);
}

/** @throws HttpError 413 for more frames than a request may have */
export function checkFrames(frames: number, limit: number): void {
  if (frames > limit)
    throw new HttpError(413, `${frames} frames in a request, over ${limit}`, 'MAX_REQUEST_FRAMES');
}

/**
 * Runs the pictures of one request, until its deadline or until the client disconnects.
 * @throws HttpError 413 naming the limit when there are too many
 */
export async function detect(
  service: Service,
  detector: Detector,
  http: { request: FastifyRequest; reply: FastifyReply },
  pictures: readonly Uint8Array[],
  threshold = service.threshold,
): Promise<PictureResult[]> {
  checkFrames(pictures.length, service.limits.maxFrames);
  http.request.hasArrived?.(pictures.length);
  const signal = endOf(http.request, http.reply);
  const client = clientOf(http.request);
  const results = await detector.detect({ pictures, threshold, client, signal });
  for (const result of results)
    service.metrics.frames.inc({ result: 'error' in result ? 'error' : 'detected' });
  return results;
}

export const clientOf = ({ headers, ip }: FastifyRequest) => String(headers[CLIENT_HEADER] ?? ip);

/** A signal that aborts when the client disconnects, or at the deadline of the request. */
export function endOf(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new HttpError(499, 'the client has gone'));
  });
  const deadline = deadlineOf(request);
  if (deadline === undefined) return gone.signal;
  return AbortSignal.any([gone.signal, AbortSignal.timeout(Math.ceil(deadline))]);
}

/**
 * @returns how long the client waits for its answer, milliseconds; undefined if it does not say
 * @throws HttpError 400
 */
export function deadlineOf(request: FastifyRequest): number | undefined {
  const header = request.headers[TIMEOUT_HEADER];
  if (header === undefined) return undefined;
  const timeout = Number(header);
  if (timeout > 0 && timeout < 2 ** 31) return timeout;
  throw new HttpError(400, `${TIMEOUT_HEADER} must be a number of milliseconds`);
}
