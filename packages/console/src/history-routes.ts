import { eventKey, MAX_TIME } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import { parseSceneEvent } from '@video-pipeline/scene';
import { ifThere } from '@video-pipeline/storage';
import { type Counts, foundFrames } from '@video-pipeline/tables';
import type { FastifyInstance } from 'fastify';
import type { EventsPage, FrameFacts, History, ReviewDraft, StoredEvent } from './api.ts';
import {
  binMsOf,
  type ConsoleRoute,
  disconnectSignal,
  draftOf,
  number,
  rangeOf,
  severalOf,
  streamId,
  streamOf,
} from './params.ts';
import type { EventRef } from './reviews.ts';
import type { RoutesOptions } from './routes-options.ts';

/** Events of one page, and most events that a request may ask for. */
const PAGE = 100;
const MAX_EVENTS = 1_000;
const SHOWN = 500;
const MAX_BINS = 240;
/** The live view calls a stream silent after this long, milliseconds. */
const SILENT_MS = 30_000;
/** How far before a moment its picture may be, milliseconds. */
const NEAR_MS = 60_000;
/** Most marks of one request. */
const MAX_MARKS = 50;

/** Routes for stored data: events with their review marks, and a day of one stream or of all. */
export function addHistoryRoutes(
  app: FastifyInstance,
  { tables, bucket, reviews, log }: Pick<RoutesOptions, 'tables' | 'bucket' | 'reviews' | 'log'>,
): void {
  app.get<ConsoleRoute>('/api/events', async ({ query }, reply): Promise<EventsPage> => {
    const range = rangeOf(query);
    const which = query.get('reviewed');
    const ids = which ? { only: which === 'yes', of: await reviews.marked(range) } : undefined;
    const criteria = {
      ...range,
      streams: severalOf(query, 'stream').map(streamId),
      types: severalOf(query, 'type'),
      classes: severalOf(query, 'class'),
      zones: severalOf(query, 'zone'),
      ids,
      limit: Math.trunc(number(query, 'limit', PAGE, 1, MAX_EVENTS)),
      cursor: query.get('cursor') ?? undefined,
    };
    const page = await tables.events(criteria, disconnectSignal(reply));
    const known = new Set(ids?.of ?? (await reviews.markedOf(page.events)));
    const events = page.events.map((event) => ({ ...event, reviewed: known.has(event.event_id) }));
    return { ...page, events };
  });
  app.get<ConsoleRoute>(
    '/api/events/:time(^\\d{1,16})-:id(^[0-9a-f]{32})',
    async ({ params }): Promise<StoredEvent> => {
      const ref = { at: Number(params.time), event_id: params.id ?? '' };
      if (ref.at > MAX_TIME) throw new HttpError(404, 'no such event');
      const body = await ifThere(bucket.read(eventKey(ref)));
      const event = body && parseSceneEvent(body);
      if (!event) throw new HttpError(404, 'no such event');
      const marked = await reviews.marked({ from: ref.at, to: ref.at });
      return { ...event, reviewed: marked.includes(ref.event_id) };
    },
  );
  app.post<ConsoleRoute>('/api/events/reviewed', async (request) => {
    const { events, reviewed } = draftOf<ReviewDraft>(request);
    const refs = Array.isArray(events) ? events.map(refOf) : [];
    const form = `{"events": [{"at", "event_id"}, ...], "reviewed": true}, of at most ${MAX_MARKS} events`;
    if (refs.length === 0 || refs.length > MAX_MARKS || typeof reviewed !== 'boolean')
      throw new HttpError(400, `body must be ${form}`);
    await reviews.mark(refs, reviewed);
    const message = reviewed ? 'events are reviewed' : 'events are not reviewed any more';
    log.info(message, { count: refs.length, by: request.ip });
    return { events: refs.length };
  });
  app.get<ConsoleRoute>('/api/history', async ({ query }, reply): Promise<History> => {
    const range = rangeOf(query);
    const streams = severalOf(query, 'stream').map(streamId);
    const bin_ms = binMsOf(range, MAX_BINS);
    const bins = Math.ceil((range.to - range.from) / bin_ms);
    const signal = disconnectSignal(reply);
    const binned = { ...range, binMs: bin_ms };
    const { counts, frames, gaps, complete: read } = await tables.history(streams, binned, SILENT_MS, signal);
    const { events, total, cursor } = await tables.events({ ...range, streams, limit: SHOWN }, signal);
    const complete = read && (cursor === undefined || events.length === SHOWN);
    const [classes, stored] = [byName(counts, bins), byName(frames, bins)];
    return { from: range.from, bin_ms, bins, classes, stored, gaps, events, total_events: total, complete };
  });
  app.get<ConsoleRoute>(
    '/api/streams/:stream/near/:time(^\\d{1,16})',
    async (request, reply): Promise<FrameFacts> => {
      const at = Math.min(Number(request.params.time), MAX_TIME - 1);
      const range = { from: Math.max(0, at - NEAR_MS), to: at + 1 };
      const criteria = { streams: [streamOf(request)], confidence: 0, limit: 1, ...range };
      const [frame] = await foundFrames(tables, criteria, disconnectSignal(reply));
      if (!frame) throw new HttpError(404, 'no frame of the minute before is stored');
      return frame;
    },
  );
}

/** For each name its count in each bin. */
function byName(counts: Counts, bins: number): Record<string, number[]> {
  const table: Record<string, number[]> = Object.create(null);
  for (const { bin, name, count } of counts) {
    table[name] ??= new Array<number>(bins).fill(0);
    table[name][bin] = count;
  }
  return table;
}

/** @throws HttpError */
function refOf(value: unknown): EventRef {
  const { at, event_id } = Object(value) as Partial<EventRef>;
  const isTime = Number.isSafeInteger(at) && Number(at) >= 0 && Number(at) <= MAX_TIME;
  if (!isTime || !/^[0-9a-f]{32}$/.test(String(event_id)))
    throw new HttpError(400, 'an event is {"at": <epoch ms>, "event_id": <32 hexadecimal digits>}');
  return { at: Number(at), event_id: String(event_id) };
}
