import { annotatedKey, capturedAtOf, MAX_TIME } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import { cached, ifThere } from '@video-pipeline/storage';
import type { FastifyInstance } from 'fastify';
import { type ConsoleRoute, FRAME, streamOf } from './params.ts';
import type { RoutesOptions } from './routes-options.ts';

/** How long a frame may take to be stored, milliseconds. */
const SETTLE_MS = 60_000;
/** How long the age of a stream's oldest picture is remembered, milliseconds. */
const OLDEST_TTL_MS = 60_000;

/** The stored picture of a frame, or the reason why there is none. */
export function addAnnotatedRoute(
  app: FastifyInstance,
  { bucket, prefix, keeping }: Pick<RoutesOptions, 'bucket' | 'prefix' | 'keeping'>,
): void {
  const oldestOf = cached(async (streamId) => {
    const [oldest] = (await bucket.page(`${prefix}/${streamId}/`, { limit: 1 })).objects;
    return oldest && capturedAtOf(oldest.key);
  }, OLDEST_TTL_MS);
  app.get<ConsoleRoute>(`/api/streams/:stream/annotated/${FRAME}.jpg`, async (request, reply) => {
    const { time, number } = request.params;
    const frame = { streamId: streamOf(request), capturedAt: Number(time), frameNumber: Number(number) };
    if (frame.capturedAt > MAX_TIME) throw new HttpError(404, 'no such frame');
    const body = await ifThere(bucket.read(annotatedKey(prefix, frame)));
    if (body) return reply.type('image/jpeg').header('cache-control', 'private, max-age=3600').send(body);
    if (Date.now() - frame.capturedAt < SETTLE_MS)
      throw new HttpError(404, 'This picture is not stored yet.');
    throw new HttpError(404, whyMissing(frame.capturedAt, await oldestOf(frame.streamId), keeping));
  });
}

/** @param oldest when the oldest stored picture of the stream was captured, epoch milliseconds */
export function whyMissing(
  capturedAt: number,
  oldest: number | undefined,
  { STORE, STORE_CLASSES }: RoutesOptions['keeping'],
): string {
  if (oldest !== undefined && capturedAt < oldest)
    return `This picture has expired: the oldest one of its stream is of ${new Date(oldest).toISOString()}.`;
  if (STORE !== 'events') return 'This picture is not there any more: it has expired or was deleted.';
  const classes = (STORE_CLASSES ?? ['any class']).filter((name) => name !== 'none');
  const seen = classes.length > 0 ? ` and detections of ${classes.join(', ')}` : '';
  return `This picture was not kept: STORE=events keeps those around events${seen}.`;
}
