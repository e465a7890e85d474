import { setTimeout as sleep } from 'node:timers/promises';
import { HttpError, RETRY_AFTER_SECONDS } from '@video-pipeline/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { deadlineOf, LOADING, type Service } from './service.ts';

/** Longest that a picture should wait where its client names no deadline, milliseconds. */
const MAX_WAIT_MS = 20_000;
/** Bodies of the largest size that may lie in memory at the same time. */
const LARGEST_BODIES = 4;
/** Bytes a frame before any was seen: about those of a 720p JPEG. */
const FIRST_FRAME_BYTES = 64_000;
/** How fast the largest frame seen is forgotten, a request. */
const FORGETTING = 0.99;

declare module 'fastify' {
  interface FastifyRequest {
    /** Called once its pictures are known, which then wait in the queue or are done. */
    hasArrived?: (pictures: number) => void;
  }
}

/** What the headers promise. */
interface Claim {
  bytes: number;
  frames: number;
}

/**
 * Decides at a request's headers whether there is room for it. To read and parse a body costs as much as to serve a small
 * model's frame; under overload, that would be spent on requests that are turned away.
 */
export function admitAtHeaders(app: FastifyInstance, service: Service): void {
  const admission = new Admission(service);
  /** When a connection was turned away last, by its socket. */
  const refusedAt = new WeakMap<object, number>();
  app.addHook('onRequest', async (request, reply) => {
    if (request.method !== 'POST') return;
    const { socket } = request.raw;
    // Who does not wait for the time that it was told is held up for it, its body unread.
    const left = (refusedAt.get(socket) ?? -Infinity) + RETRY_AFTER_SECONDS * 1000 - performance.now();
    if (left > 0 && admission.refusal(request)) await sleep(left);
    const refusal = admission.refusal(request);
    if (!refusal) return admission.enter(request, reply);
    refusedAt.set(socket, performance.now());
    throw refusal;
  });
}

class Admission {
  readonly #service: Service;
  /** Requests being read or served, their bytes, and frames expected in the bodies that are being read. */
  #requests = 0;
  #bytes = 0;
  #expected = 0;
  /** Of the largest frame seen lately. */
  #seenBytes: number | undefined;

  constructor(service: Service) {
    this.#service = service;
  }

  /** @returns why there is no room for the request now */
  refusal(request: FastifyRequest): HttpError | undefined {
    const { maxRequests, maxBodyBytes } = this.#service.limits;
    const claim = this.#claimOf(request);
    if (this.#requests >= maxRequests) {
      return new HttpError(429, `${this.#requests} requests are being served`, 'MAX_CONCURRENT_REQUESTS');
    }
    if (this.#bytes > 0 && this.#bytes + claim.bytes > LARGEST_BODIES * maxBodyBytes) {
      return new HttpError(429, `bodies of ${this.#bytes} bytes are being served`, 'MAX_BODY_BYTES');
    }
    return this.#refusalByQueue(request, claim);
  }

  enter(request: FastifyRequest, reply: FastifyReply): void {
    const { bytes, frames } = this.#claimOf(request);
    let expected = frames;
    this.#requests++;
    this.#bytes += bytes;
    this.#expected += expected;
    const hasArrived = () => {
      this.#expected -= expected;
      expected = 0;
    };
    request.hasArrived = (pictures) => {
      hasArrived();
      // The largest lately seen: an estimate that is too high would turn away what there is room for.
      if (pictures > 0) this.#seenBytes = Math.max(bytes / pictures, FORGETTING * (this.#seenBytes ?? 0));
    };
    reply.raw.once('close', () => {
      hasArrived();
      this.#requests--;
      this.#bytes -= bytes;
    });
  }

  #refusalByQueue(request: FastifyRequest, { frames }: Claim): HttpError | undefined {
    const detectors = [...this.#service.detectors().values()];
    if (detectors.length === 0) return new HttpError(503, LOADING);
    const queued = Math.min(...detectors.map((detector) => detector.queued));
    const room = Math.max(...detectors.map((detector) => detector.maxQueue)) - queued;
    const before = queued + this.#expected;
    if (before > 0 && this.#expected + frames > room) {
      return new HttpError(429, `${before} pictures wait already`, 'MAX_QUEUED_FRAMES');
    }
    const waitMs = (1000 * before) / Math.max(...detectors.map((detector) => detector.framesPerSecond));
    const most = deadlineOf(request) ?? MAX_WAIT_MS;
    if (waitMs <= most || Number.isNaN(waitMs)) return undefined;
    const seconds = (ms: number) => (ms / 1000).toFixed(1);
    return new HttpError(
      429,
      `the ${before} pictures that wait already take ${seconds(waitMs)} s, over ${seconds(most)}`,
      'MAX_QUEUED_FRAMES',
    );
  }

  #claimOf(request: FastifyRequest): Claim {
    const { maxBodyBytes } = this.#service.limits;
    const stated = request.headers['content-length'];
    // One that states no length may be as long as any, and counts as one picture: most are few.
    if (stated === undefined) return { bytes: maxBodyBytes, frames: 1 };
    const bytes = Math.min(Number(stated), maxBodyBytes);
    return { bytes, frames: Math.max(1, Math.floor(bytes / (this.#seenBytes ?? FIRST_FRAME_BYTES))) };
  }
}
