import { archiveSpanOf, clipKey, MAX_TIME } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import {
  ifThere,
  objectsOf,
  playlistOf,
  type Reader,
  rangeAround,
  SEGMENT_PICTURES,
} from '@video-pipeline/storage';
import { foundFrames } from '@video-pipeline/tables';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { clipOf } from './clip.ts';
import { metadataTrackOf } from './metadata-track.ts';
import { type ConsoleRequest, type ConsoleRoute, disconnectSignal, streamOf } from './params.ts';
import { ranged } from './ranged.ts';
import type { RoutesOptions } from './routes-options.ts';
import { singleFlight } from './single-flight.ts';

/** Making a clip takes a core for about a second, and up to 150 MB. */
const CLIPS_AT_ONCE = 1;
const STORED_AT_ONCE = 4;
const MAX_QUEUED = 32;

type ClipRoutesOptions = Pick<RoutesOptions, 'prefix' | 'clipSettings'> & {
  bucket: Reader;
  tables: Pick<RoutesOptions['tables'], 'search'>;
};

/** Routes for clips: made from the annotated pictures around a moment, or stored for an event. */
export function addClipRoutes(app: FastifyInstance, options: ClipRoutesOptions): void {
  const { bucket, prefix, clipSettings } = options;
  const made = singleFlight<Buffer | undefined>(CLIPS_AT_ONCE, MAX_QUEUED);
  const stored = singleFlight<Buffer>(STORED_AT_ONCE, MAX_QUEUED);
  /** Sends a video that is stored under this key, or the part of it that the client asks for. */
  const sendStored: SendStored = async (key, request, reply) => {
    const body = await ifThere(stored(key, () => bucket.read(key), disconnectSignal(reply)));
    if (!body) throw new HttpError(404, 'no such video is stored');
    const part = ranged(body, request.headers.range);
    reply.type('video/mp4').header('cache-control', 'private, max-age=3600');
    return reply.status(part.status).headers(part.headers).send(part.body);
  };
  const path = '/api/streams/:stream/clips/:time(^\\d{1,16})';
  app.get<ConsoleRoute>(`${path}.webp`, async (request, reply) => {
    const at = timeOf(request);
    const range = rangeAround(streamOf(request), at, clipSettings);
    const work = (signal: AbortSignal) => clipOf(bucket, prefix, range, signal);
    const body = await made(`${range.streamId}/${at}`, work, disconnectSignal(reply));
    if (!body) throw new HttpError(404, 'no picture of that time is stored');
    return reply.type('image/webp').send(body);
  });
  app.get<ConsoleRoute>(`${path}-:event(^[0-9a-f]{32}).mp4`, (request, reply) => {
    const event = { stream_id: streamOf(request), at: timeOf(request), event_id: request.params.event ?? '' };
    return sendStored(clipKey(event), request, reply);
  });
  addVideoRoutes(app, options, sendStored);
}

type SendStored = (key: string, request: ConsoleRequest, reply: FastifyReply) => Promise<FastifyReply>;

function timeOf({ params }: ConsoleRequest): number {
  const at = Number(params.time);
  if (at > MAX_TIME) throw new HttpError(404, 'no such time');
  return at;
}

/** Longest time of a side track, milliseconds; a segment is shorter. */
const SIDE_TRACK_MS = 60_000;

/** Routes for an hour of stored video: an HLS playlist, its segments, and their detections. */
function addVideoRoutes(
  app: FastifyInstance,
  { bucket, prefix, tables }: ClipRoutesOptions,
  sendStored: SendStored,
): void {
  const playlists = singleFlight<string | undefined>(STORED_AT_ONCE, MAX_QUEUED);
  const path = '/api/streams/:stream/video/:date(^date=\\d{4}-\\d\\d-\\d\\d$)/:hour(^hour=\\d\\d$)';
  const folderOf = (request: ConsoleRequest) =>
    `${prefix}/${streamOf(request)}/${request.params.date}/${request.params.hour}/`;
  app.get<ConsoleRoute>(`${path}/index.m3u8`, async (request, reply) => {
    const folder = folderOf(request);
    const work = (signal: AbortSignal) => playlistIn(bucket, folder, signal);
    const playlist = await playlists(folder, work, disconnectSignal(reply));
    if (!playlist) throw new HttpError(404, 'no video of this hour is stored');
    return reply.type('application/vnd.apple.mpegurl').send(playlist);
  });
  app.get<ConsoleRoute>(
    `${path}/:name(^\\d{1,16}-\\d{1,16}-[\\w.-]+\\.(?:mp4|vtt)$)`,
    async (request, reply) => {
      const { name = '' } = request.params;
      if (name.endsWith('.mp4')) return sendStored(`${folderOf(request)}${name}`, request, reply);
      const { from = 0, to = 0 } = archiveSpanOf(`/${name.replace(/vtt$/, 'mp4')}`) ?? {};
      const range = { from, to: Math.min(to, from + SIDE_TRACK_MS) + 1 };
      // The range may have frames of two overlapping segments.
      const criteria = { streams: [streamOf(request)], confidence: 0, ...range, limit: 2 * SEGMENT_PICTURES };
      const frames = await foundFrames(tables, criteria, disconnectSignal(reply));
      return reply.type('text/vtt; charset=utf-8').send(metadataTrackOf(frames, from));
    },
  );
}

async function playlistIn(bucket: Reader, folder: string, signal: AbortSignal): Promise<string | undefined> {
  const keys: string[] = [];
  for await (const { key } of objectsOf(bucket, folder)) {
    signal.throwIfAborted();
    if (key.endsWith('.mp4')) keys.push(key);
  }
  return playlistOf(keys, Date.now());
}
