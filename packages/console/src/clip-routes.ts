import type { ServerResponse } from 'node:http';
import { clipKey, MAX_TIME } from '@video-pipeline/frame';
import { type ClipSettings, isMissing, type Reader, stretchAround } from '@video-pipeline/storage';
import { clipOf } from './clip.ts';
import { HttpError, type Reply, type Route, type RouteRequest } from './http.ts';
import { STREAM, streamId } from './params.ts';
import { ranged } from './ranged.ts';
import { BusyError, SharedWork } from './shared-work.ts';

/** A clip takes a core for about a second, and up to 150 MB. */
const CLIPS_AT_ONCE = 1;
const STORED_AT_ONCE = 4;
const MAX_QUEUED = 32;

interface ClipRoutesOptions {
  bucket: Reader;
  /** First folder of annotated frames. */
  prefix: string;
  clipSettings: ClipSettings;
}

/** What happened around a moment: put together from the annotated pictures, or as it is stored of an event. */
export function clipRoutes(options: ClipRoutesOptions): Route[] {
  const made = new SharedWork<Buffer | undefined>(CLIPS_AT_ONCE, MAX_QUEUED);
  const stored = new SharedWork<Buffer>(STORED_AT_ONCE, MAX_QUEUED);
  const route = (name: string, handle: (request: RouteRequest, at: number) => Promise<Reply>): Route => ({
    method: 'GET',
    path: new RegExp(`^/api/streams/${STREAM}/clips/(?<time>\\d{1,16})${name}$`),
    async handle(request) {
      const at = Number(request.params.time);
      if (at > MAX_TIME) throw new HttpError(404, 'no such time');
      return handle(request, at);
    },
  });
  return [
    route('\\.webp', (request, at) => madeClip(options, made, request, at)),
    route('-(?<event>[0-9a-f]{32})\\.mp4', (request, at) => storedClip(options, stored, request, at)),
  ];
}

async function madeClip(
  { bucket, prefix, clipSettings }: ClipRoutesOptions,
  made: SharedWork<Buffer | undefined>,
  { params, response }: RouteRequest,
  at: number,
): Promise<Reply> {
  const stretch = stretchAround(streamId(params.stream), at, clipSettings);
  const work = (signal: AbortSignal) => clipOf(bucket, prefix, stretch, signal);
  const body = await shared(made, `${stretch.streamId}/${at}`, work, response);
  if (!body) throw new HttpError(404, 'no picture of that time is stored');
  return { type: 'image/webp', body, headers: { 'cache-control': 'no-store' } };
}

async function storedClip(
  { bucket }: ClipRoutesOptions,
  stored: SharedWork<Buffer>,
  { params, request, response }: RouteRequest,
  at: number,
): Promise<Reply> {
  const key = clipKey({ stream_id: streamId(params.stream), at, event_id: params.event ?? '' });
  const body = await shared(stored, key, () => bucket.read(key), response).catch((error) => {
    if (isMissing(error)) throw new HttpError(404, 'no clip of this event is stored');
    throw error;
  });
  const headers = { 'cache-control': 'private, max-age=3600' };
  return ranged({ type: 'video/mp4', body, headers }, request.headers.range);
}

/** Work that others may wait for too; without this client, once it has gone. */
async function shared<Value>(
  all: SharedWork<Value>,
  name: string,
  work: (signal: AbortSignal) => Promise<Value>,
  response: ServerResponse,
): Promise<Value> {
  const gone = new AbortController();
  const leave = () => gone.abort(new HttpError(499, 'the client has gone'));
  response.once('close', leave);
  try {
    return await all.do(name, work, gone.signal);
  } catch (error) {
    if (error instanceof BusyError)
      throw new HttpError(503, 'too many clips are asked for: try again in a few seconds');
    throw error;
  } finally {
    response.off('close', leave);
  }
}
