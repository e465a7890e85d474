import { isStreamId } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import type { FastifyRequest } from 'fastify';

/** A request as the console's routes take it. */
export interface Asked {
  Params: Record<string, string>;
  Querystring: URLSearchParams;
}
export type AskedRequest = FastifyRequest<Asked>;

/** In a route's path, when a frame was captured, and its number. */
export const FRAME = ':time(^\\d{1,16})-:number(^\\d{1,16})';

/** @returns the stream that the route's path names. @throws HttpError */
export function streamOf({ params }: AskedRequest): string {
  return streamId(params.stream);
}

/** @throws HttpError */
export function streamId(value: string | undefined): string {
  if (value === undefined || !isStreamId(value)) throw new HttpError(400, 'not a stream id');
  return value;
}

/** @throws HttpError when the query has something else than a number from `min` to `max` */
export function number(
  query: URLSearchParams,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  const value = query.get(name);
  if (value === null || value === '') return fallback;
  const parsed = Number(value);
  if (!(parsed >= min && parsed <= max)) throw new HttpError(400, `${name} must be from ${min} to ${max}`);
  return parsed;
}

/** The body of a request that changes something; its fields may be anything. */
export function draftOf<Draft>({ body }: FastifyRequest<Asked>): {
  [Key in Draft extends unknown ? keyof Draft : never]?: unknown;
} {
  return Object(body);
}
