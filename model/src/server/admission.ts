import { setTimeout as sleep } from 'node:timers/promises';
import { HttpError, RETRY_AFTER_SECONDS } from '@video-pipeline/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { deadlineOf, LOADING, type Service } from './service.ts';

/** Longest wait of a picture if its client names no deadline, milliseconds. */
const MAX_WAIT_MS = 20_000;
/** How many bodies of the largest size may be in memory at the same time. */
const LARGEST_BODIES = 4;
/** Estimated bytes of a frame before the first one has come: about a 720p JPEG. */
const FIRST_FRAME_BYTES = 64_000;
/** Factor by which the largest frame size decays with each request. */
const FORGETTING = 0.99;

declare module 'fastify' {
  interface FastifyRequest {
    /** Called once the number of its pictures is known. From then on the queue counts them. */
    hasArrived?: (pictures: number) => void;
  }
}

/** Size of a request, estimated from its headers. */
interface Claim {
  bytes: number;
  frames: number;
}

/**
 * Admits or refuses a request once its headers are read. To read and parse a body costs as much as one frame of a small
 * model. Under overload that work would be wasted on requests that are refused.
 */
export function admitAtHeaders(app: FastifyInstance, service: Service): void {
  const { refusal, enter } = createAdmission(service);
  /** Time of the last refusal, by socket. */
  const refusedAt = new WeakMap<object, number>();
  app.addHook('onRequest', async (request, reply) => {
    if (request.method !== 'POST') return;
    const { socket } = request.raw;
    // A client that ignores Retry-After has to wait here for the rest of that time, with its body unread.
    const remaining = (refusedAt.get(socket) ?? -Infinity) + RETRY_AFTER_SECONDS * 1000 - performance.now();
    if (remaining > 0 && refusal(request)) await sleep(remaining);
    // A client that has disconnected meanwhile would hold its place for ever.
    if (socket.destroyed) throw new HttpError(499, 'the client has gone');
    const refused = refusal(request);
    if (!refused) return enter(request, reply);
    refusedAt.set(socket, performance.now());
    throw refused;
  });
}

function createAdmission({ limits: { maxRequests, maxBodyBytes }, detectors: current }: Service) {
  /** Requests in progress, the bytes of their bodies, and the frames expected in bodies that are still being read. */
  const serving = { requests: 0, bytes: 0, expected: 0 };
  /** Bytes of the largest recent frame. */
  let seenBytes: number | undefined;

  /** @returns why the request must be refused; undefined if it is admitted */
  function refusal(request: FastifyRequest): HttpError | undefined {
    const { requests, bytes } = serving;
    const claim = claimOf(request);
    if (requests >= maxRequests)
      return new HttpError(429, `${requests} requests are being served`, 'MAX_CONCURRENT_REQUESTS');
    if (bytes > 0 && bytes + claim.bytes > LARGEST_BODIES * maxBodyBytes)
      return new HttpError(429, `bodies of ${bytes} bytes are being served`, 'MAX_BODY_BYTES');
    return refusalByQueue(request, claim);
  }

  function enter(request: FastifyRequest, reply: FastifyReply): void {
    const { bytes, frames } = claimOf(request);
    let expected = frames;
    serving.requests++;
    serving.bytes += bytes;
    serving.expected += expected;
    const hasArrived = () => {
      serving.expected -= expected;
      expected = 0;
    };
    request.hasArrived = (pictures) => {
      hasArrived();
      // The largest size makes the estimated number of frames low: a number too high would refuse requests without
      // need.
      if (pictures > 0) seenBytes = Math.max(bytes / pictures, FORGETTING * (seenBytes ?? 0));
    };
    reply.raw.once('close', () => {
      hasArrived();
      serving.requests--;
      serving.bytes -= bytes;
    });
  }

  function refusalByQueue(request: FastifyRequest, { frames }: Claim): HttpError | undefined {
    const detectors = [...current().values()];
    if (detectors.length === 0) return new HttpError(503, LOADING);
    const { expected } = serving;
    const queued = Math.min(...detectors.map((detector) => detector.queued));
    const room = Math.max(...detectors.map((detector) => detector.maxQueue)) - queued;
    const before = queued + expected;
    if (before > 0 && expected + frames > room)
      return new HttpError(429, `${before} pictures wait already`, 'MAX_QUEUED_FRAMES');
    const waitMs = (1000 * before) / Math.max(...detectors.map((detector) => detector.framesPerSecond));
    const limit = deadlineOf(request) ?? MAX_WAIT_MS;
    if (waitMs <= limit || Number.isNaN(waitMs)) return undefined;
    const seconds = (ms: number) => (ms / 1000).toFixed(1);
    const why = `the ${before} pictures that wait already take ${seconds(waitMs)} s, over ${seconds(limit)}`;
    return new HttpError(429, why, 'MAX_QUEUED_FRAMES');
  }

  function claimOf(request: FastifyRequest): Claim {
    const stated = request.headers['content-length'];
    // A body without a stated length counts with the largest size, and as one picture.
    if (stated === undefined) return { bytes: maxBodyBytes, frames: 1 };
    const bytes = Math.min(Number(stated), maxBodyBytes);
    return { bytes, frames: Math.max(1, Math.floor(bytes / (seenBytes ?? FIRST_FRAME_BYTES))) };
  }

  return { refusal, enter };
}
