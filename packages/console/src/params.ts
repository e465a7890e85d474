import { DAY_MS, isStreamId, MAX_TIME } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import type { FastifyReply, FastifyRequest } from 'fastify';

export interface ConsoleRoute {
  Params: Record<string, string>;
  Querystring: URLSearchParams;
}
export type ConsoleRequest = FastifyRequest<ConsoleRoute>;

/** A frame in a route's path: its capture time and its number. */
export const FRAME = ':time(^\\d{1,16})-:number(^\\d{1,16})';

/** @returns the stream that the route's path names. @throws HttpError */
export function streamOf({ params }: ConsoleRequest): string {
  return streamId(params.stream);
}

/** @throws HttpError */
export function streamId(value: string | undefined): string {
  if (value === undefined || !isStreamId(value)) throw new HttpError(400, 'not a stream id');
  return value;
}

/** @throws HttpError when the query's value is not a number from `min` to `max` */
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

/** Most names of one kind in a query. */
const MAX_NAMES = 100;

/** @returns all values of the query's field, without empty ones. @throws HttpError for too many */
export function severalOf(query: URLSearchParams, name: string): string[] {
  const values = query.getAll(name).filter(Boolean);
  if (values.length > MAX_NAMES)
    throw new HttpError(400, `${name} is given ${values.length} times, at most ${MAX_NAMES} are read`);
  return values;
}

/** Length of the bins of a range, ms, so that there are at most `most`. At least one second. */
export function binMsOf({ from, to }: { from: number; to: number }, limit: number): number {
  return Math.max(1_000, Math.ceil((to - from) / limit));
}

/** The query's `from` and `to`, epoch ms. Left out: the last 24 hours. @throws HttpError */
export function rangeOf(query: URLSearchParams): { from: number; to: number } {
  const to = number(query, 'to', Date.now() + 1, 0, MAX_TIME);
  const from = number(query, 'from', Math.max(0, to - DAY_MS), 0, MAX_TIME);
  if (from >= to) throw new HttpError(400, 'the range is empty: from must be before to');
  return { from, to };
}

export function disconnectSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  raw.on('close', () => gone.abort(new HttpError(499, 'the client has gone')));
  return gone.signal;
}

/** The body of a request for a change. Its fields may have any values. */
export function draftOf<Draft>({ body }: FastifyRequest<ConsoleRoute>): {
  [Key in Draft extends unknown ? keyof Draft : never]?: unknown;
} {
  return Object(body);
}
