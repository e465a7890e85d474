import { HttpError } from '@video-pipeline/http';
import { OverloadedError } from '../detector.ts';
import { InferenceError } from '../inference-pool.ts';

export function explain(error: Error): HttpError | undefined {
  if (error instanceof OverloadedError) return new HttpError(429, error.message, 'MAX_QUEUED_FRAMES');
  if (error instanceof InferenceError) return new HttpError(500, error.message);
  if (error.name === 'TimeoutError') return new HttpError(504, 'the deadline of the request has passed');
  return undefined;
}
