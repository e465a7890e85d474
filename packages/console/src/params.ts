import { isStreamId } from '@video-pipeline/frame';
import { HttpError } from './http.ts';

/** In a route's path, the stream that it is about. */
export const STREAM = '(?<stream>[^/]+)';

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
