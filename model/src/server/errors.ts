import type { FastifyError, FastifyRequest } from 'fastify';
import { OverloadedError } from '../detector.ts';
import { InferenceError } from '../inference-pool.ts';

/** A request that can't be served as it is, with the status it gets. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly statusCode: number;
  /** The setting that was exceeded, when one was. */
  readonly limit: string | undefined;

  constructor(statusCode: number, message: string, limit?: string) {
    super(message);
    this.statusCode = statusCode;
    this.limit = limit;
  }
}

export interface ErrorAnswer {
  status: number;
  error: string;
  limit?: string | undefined;
}

/** @returns status and body `{ error, limit? }`, the form that the Open Inference Protocol asks for */
export function describeError(error: FastifyError, request: FastifyRequest): ErrorAnswer {
  if (error instanceof RequestError) {
    return { status: error.statusCode, error: error.message, limit: error.limit };
  }
  if (error instanceof OverloadedError)
    return { status: 429, error: error.message, limit: 'MAX_QUEUED_FRAMES' };
  if (error instanceof InferenceError) return { status: 500, error: error.message };
  if (error.name === 'TimeoutError') return { status: 504, error: 'the deadline of the request has passed' };
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    const limit = request.routeOptions.bodyLimit;
    return { status: 413, error: `the body is over ${limit} bytes`, limit: 'MAX_BODY_BYTES' };
  }
  const status = error.statusCode ?? 500;
  return { status, error: status < 500 ? error.message : 'internal error' };
}
