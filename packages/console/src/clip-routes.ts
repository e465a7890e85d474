import { clipKey, MAX_TIME } from '@video-pipeline/frame';
import { type ClipSettings, isMissing, type Reader, stretchAround } from '@video-pipeline/storage';
import { clipOf } from './clip.ts';
import { HttpError, type Reply, type Route, type RouteRequest } from './http.ts';
import { STREAM, streamId } from './params.ts';
import { ranged } from './ranged.ts';

interface ClipRoutesOptions {
  bucket: Reader;
  /** First folder of annotated frames. */
  prefix: string;
  clipSettings: ClipSettings;
}

/** What happened around a moment: put together from the annotated pictures, or as it is stored of an event. */
export function clipRoutes(options: ClipRoutesOptions): Route[] {
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
    route('\\.webp', ({ params }, at) => madeClip(options, streamId(params.stream), at)),
    route('-(?<event>[0-9a-f]{32})\\.mp4', (request, at) => storedClip(options, request, at)),
  ];
}

async function madeClip(
  { bucket, prefix, clipSettings }: ClipRoutesOptions,
  stream: string,
  at: number,
): Promise<Reply> {
  const body = await clipOf(bucket, prefix, stretchAround(stream, at, clipSettings));
  if (!body) throw new HttpError(404, 'no picture of that time is stored');
  return { type: 'image/webp', body, headers: { 'cache-control': 'no-store' } };
}

async function storedClip(
  { bucket }: ClipRoutesOptions,
  { params, request }: RouteRequest,
  at: number,
): Promise<Reply> {
  const key = clipKey({ stream_id: streamId(params.stream), at, event_id: params.event ?? '' });
  const body = await bucket.read(key).catch((error) => {
    if (isMissing(error)) throw new HttpError(404, 'no clip of this event is stored');
    throw error;
  });
  const headers = { 'cache-control': 'private, max-age=3600' };
  return ranged({ type: 'video/mp4', body, headers }, request.headers.range);
}
