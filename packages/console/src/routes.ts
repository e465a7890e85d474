import type { OutgoingHttpHeaders } from 'node:http';
import { type FrameFacts, factsOf } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import { type FailedEntry, purge } from '@video-pipeline/recovery/failed';
import { FAILED_FOLDERS } from '@video-pipeline/stages';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { addAnnotatedRoute } from './annotated-route.ts';
import type { FailedBulk, FailedBulkResult, Session } from './api.ts';
import { addCameraRoutes } from './camera-routes.ts';
import { addClipRoutes } from './clip-routes.ts';
import { addDetectionRoutes } from './detection-routes.ts';
import type { Events } from './events.ts';
import { bulk, type FailedChoice, failedPage } from './failed.ts';
import { sendLogin } from './guard.ts';
import { addHistoryRoutes } from './history-routes.ts';
import type { Page } from './page-files.ts';
import {
  type ConsoleRequest,
  type ConsoleRoute,
  disconnectSignal,
  draftOf,
  FRAME,
  number,
  streamId,
  streamOf,
} from './params.ts';
import type { RoutesOptions } from './routes-options.ts';
import { addSceneRoutes } from './scene-routes.ts';
import { addSearchRoutes } from './search-routes.ts';
import { findStored, lastStored, pastCounts, withPast } from './stored.ts';

export function addRoutes(app: FastifyInstance, options: RoutesOptions): void {
  const { access, tables, live } = options;
  const past = pastCounts(tables);
  addPage(app, options);
  app.get('/health', () => ({ status: 'healthy' }));
  app.get('/api/session', () => ({ login: access.hasLogin, drawn: options.drawn }) satisfies Session);
  app.get<ConsoleRoute>('/api/live', (request, reply) => followLive(options.events, request, reply));
  app.get('/api/flow', () => options.flow());
  app.get<ConsoleRoute>('/api/failed', ({ query }) =>
    failedPage(options.bucket, choiceOf(Object.fromEntries(query)), query.get('cursor') ?? undefined),
  );
  app.post<ConsoleRoute>('/api/failed/bulk', (request, reply) =>
    failedBulk(options, request, disconnectSignal(reply)),
  );
  app.post<ConsoleRoute>('/api/failed/redrive', (request) => redriveEntry(options, request));
  const stream = '/api/streams/:stream';
  app.get<ConsoleRoute>(`${stream}/frames`, (request) => live.recent(streamOf(request)));
  app.get<ConsoleRoute>(`${stream}/last`, async (request) => {
    const frame = await lastStored(tables, streamOf(request));
    if (!frame) throw new HttpError(404, 'nothing of this stream is stored');
    return frame;
  });
  app.get<ConsoleRoute>(`${stream}/timeline`, async (request) => {
    const id = streamOf(request);
    const timeline = live.timeline(id, number(request.query, 'minutes', 15, 1, 360));
    const isCounted = (start: number) => live.isCounted(id, start);
    if (isCounted(timeline.from)) return timeline;
    // Live counts are still useful while S3 does not answer.
    const before = await past(id).catch(() => undefined);
    return before ? withPast(timeline, before, isCounted) : timeline;
  });
  app.get<ConsoleRoute>(`${stream}/frames/${FRAME}.jpg`, (request, reply) =>
    sendPicture(options, request, reply),
  );
  app.get<ConsoleRoute>(`${stream}/frames/${FRAME}.json`, (request) => frameFacts(options, request));
  app.get<ConsoleRoute>(`${stream}/events`, (request) => options.sceneEvents(streamOf(request)));
  addAnnotatedRoute(app, options);
  addSearchRoutes(app, options);
  addHistoryRoutes(app, options);
  addClipRoutes(app, options);
  addSceneRoutes(app, options);
  addDetectionRoutes(app, options);
  addCameraRoutes(app, options);
}

/** The page's files, and the log-in, whose forms are the only bodies that are not JSON. */
function addPage(app: FastifyInstance, { page, access, origin }: RoutesOptions): void {
  const at = (request: FastifyRequest) => ({ isSecure: origin.isSecure(request), prefix: origin.prefix });
  // Relative, since a proxy may have removed the first part of the path. The browser keeps the part after the '#'.
  const home = (reply: FastifyReply) => reply.redirect('./', 303);
  app.get<ConsoleRoute>('/', (request, reply) => sendFile(page, 'index.html', request, reply));
  app.get<ConsoleRoute>('/page/:name', (request, reply) =>
    sendFile(page, request.params.name ?? '', request, reply),
  );
  app.get('/login', (_request, reply) => home(reply));
  app.register(async (forms) => {
    forms.removeAllContentTypeParsers();
    forms.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) =>
      done(null, new URLSearchParams(String(body))),
    );
    forms.post('/login', (request, reply) => {
      const token = request.body instanceof URLSearchParams ? request.body.get('token') : null;
      const cookie = access.login(token ?? '', at(request));
      if (cookie) return home(reply.header('set-cookie', cookie));
      if (request.headers.accept?.includes('text/html')) return sendLogin(reply, page, true);
      throw new HttpError(401, 'this is not the token');
    });
    forms.post('/logout', (request, reply) =>
      home(reply.header('set-cookie', access.logout(request, at(request)))),
    );
  });
}

function sendFile(page: Page, name: string, { headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  const file = page.get(name);
  if (!file) throw new HttpError(404, 'not found');
  const { type, body, etag } = file;
  reply.headers({ etag, 'cache-control': 'no-cache' }).type(type);
  return headers['if-none-match'] === etag ? reply.status(304).send() : reply.send(body);
}

function followLive(events: Events, { query, method }: ConsoleRequest, reply: FastifyReply): FastifyReply {
  const stream = query.get('stream');
  const filter = stream === null ? undefined : streamId(stream);
  if (events.isFull()) throw new HttpError(503, 'too many browsers');
  // This header makes nginx pass each event on at once.
  reply.type('text/event-stream').header('x-accel-buffering', 'no');
  if (method === 'HEAD') return reply.send();
  reply.hijack();
  events.connect(reply.raw, { ...reply.getHeaders() } as OutgoingHttpHeaders, filter);
  return reply;
}

function sendPicture({ live }: RoutesOptions, request: ConsoleRequest, reply: FastifyReply): FastifyReply {
  const { time, number } = request.params;
  const frame = live.frame(streamOf(request), `${time}-${number}`);
  if (!frame) throw new HttpError(404, 'this frame is no longer in memory');
  return reply.type('image/jpeg').send(frame.jpeg);
}

async function frameFacts({ live, tables }: RoutesOptions, request: ConsoleRequest): Promise<FrameFacts> {
  const { time, number } = request.params;
  const streamId = streamOf(request);
  const held = live.frame(streamId, `${time}-${number}`);
  const name = { streamId, capturedAt: Number(time), frameNumber: Number(number) };
  const facts = held ? factsOf(held) : await findStored(tables, name);
  if (!facts) throw new HttpError(404, 'no such frame');
  return facts;
}

/** The filter of a request for `failed/`. An empty text is no filter. @throws HttpError */
function choiceOf({ stage, stream, code }: Record<string, unknown>): FailedChoice {
  const [byStage, byStream, byCode] = [stage, stream, code].map((text) => String(text ?? '') || undefined);
  if (byStage !== undefined && !FAILED_FOLDERS.includes(byStage))
    throw new HttpError(400, `stage must be one of ${FAILED_FOLDERS.join(', ')}`);
  return { stage: byStage, stream: byStream && streamId(byStream), code: byCode };
}

function failedBulk(
  { bucket, redrive, recountFailed, log }: RoutesOptions,
  request: ConsoleRequest,
  gone: AbortSignal,
): Promise<FailedBulkResult> {
  const { action, confirmed, cursor, until, ...draft } = draftOf<FailedBulk>(request);
  if (action !== 'redrive' && action !== 'delete')
    throw new HttpError(400, 'action must be redrive or delete');
  const choice = choiceOf(draft);
  const before = { cursor: String(cursor ?? '') || undefined, until: Number(until) || undefined };
  if (confirmed !== true) return bulk(bucket, choice, gone, undefined, before);
  log.info(`${action} of failed records`, { ...choice, by: request.ip });
  const apply = (entry: FailedEntry) =>
    action === 'redrive' ? redrive(entry.key) : purge(bucket, entry, choice);
  return bulk(bucket, choice, gone, apply, before).finally(recountFailed);
}

async function redriveEntry(
  { redrive, recountFailed }: RoutesOptions,
  request: ConsoleRequest,
): Promise<{ key: string }> {
  const { key } = draftOf<{ key: string }>(request);
  if (typeof key !== 'string') throw new HttpError(400, 'body must be {"key": "failed/..."}');
  await redrive(key);
  recountFailed();
  return { key };
}
