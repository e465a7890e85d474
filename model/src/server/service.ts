import { HttpError } from '@video-pipeline/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Detector, PictureResult } from '../detector.ts';
import type { Metrics } from './metrics.ts';

/** What every route works with. */
export interface Service {
  /** The models now in service by name, the default one first. */
  detectors(): ReadonlyMap<string, Detector>;
  /** Detections under it are left out where a request says nothing, 0..1. */
  threshold: number;
  limits: Limits;
  /** Address that it listens on; without it, this machine alone. */
  host?: string;
  metrics: Metrics;
  /** False before the models have run once, and from the moment the server is told to stop. */
  isReady(): boolean;
}

export interface Limits {
  /** Largest body of a request, bytes. */
  maxBodyBytes: number;
  /** Most frames of one request. */
  maxFrames: number;
  /** Most requests at the same time. */
  maxRequests: number;
  /** Longest time a client may take to send a request, milliseconds. */
  requestMs: number;
}

/** What a request is told before there is a model. */
export const LOADING = 'the model is being loaded and warmed up';

/** Header with the longest time a client waits for its answer, milliseconds. */
const TIMEOUT_HEADER = 'x-request-timeout-ms';
/** Header that tells clients apart which come from one address, that of a load balancer say. */
const CLIENT_HEADER = 'x-client-id';

/** What {@link detect} reads of a request's headers, as JSON schema. */
export const detectHeaders = {
  [TIMEOUT_HEADER]: { type: 'number', description: 'longest time to wait for the answer, milliseconds' },
  [CLIENT_HEADER]: {
    type: 'string',
    description: 'who asks: clients are served in turn; the address of the connection without it',
  },
} as const;

/**
 * @throws HttpError 404 when no model is called `name`, 503 while there is none yet; without a name the default model
 *   is meant
 */
export function detectorFor(service: Service, name?: string): Detector {
  const detectors = service.detectors();
  if (detectors.size === 0) throw new HttpError(503, LOADING);
  const detector = name === undefined ? detectors.values().next().value : detectors.get(name);
  if (detector) return detector;
  throw new HttpError(404, `no model '${name}'; there are: ${[...detectors.keys()].join(', ')}`);
}

/**
 * Runs the pictures of one request, until its deadline or until its client is gone.
 * @throws HttpError 413 naming the limit when there are too many
 */
export async function detect(
  service: Service,
  detector: Detector,
  http: { request: FastifyRequest; reply: FastifyReply },
  pictures: readonly Uint8Array[],
  threshold = service.threshold,
): Promise<PictureResult[]> {
  const { maxFrames } = service.limits;
  if (pictures.length > maxFrames) {
    throw new HttpError(
      413,
      `${pictures.length} frames in a request, over ${maxFrames}`,
      'MAX_REQUEST_FRAMES',
    );
  }
  http.request.hasArrived?.(pictures.length);
  const signal = endOf(http.request, http.reply);
  const client = clientOf(http.request);
  const results = await detector.detect({ pictures, threshold, client, signal });
  for (const result of results)
    service.metrics.frames.inc({ result: 'error' in result ? 'error' : 'detected' });
  return results;
}

/** Who asks. */
export const clientOf = ({ headers, ip }: FastifyRequest) => String(headers[CLIENT_HEADER] ?? ip);

/** Ends with the client, or with the deadline that it named. */
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
 * @returns how long the client waits for its answer, milliseconds, when it says so
 * @throws HttpError 400
 */
export function deadlineOf(request: FastifyRequest): number | undefined {
  const header = request.headers[TIMEOUT_HEADER];
  if (header === undefined) return undefined;
  const timeout = Number(header);
  if (timeout > 0 && timeout < 2 ** 31) return timeout;
  throw new HttpError(400, `${TIMEOUT_HEADER} must be a number of milliseconds`);
}
