import { annotatedKey, MAX_TIME } from '@video-pipeline/frame';
import { type ClipSettings, isMissing } from '@video-pipeline/storage';
import type { Logger } from '@video-pipeline/telemetry';
import type { Access } from './access.ts';
import type { Flow, Names, SceneEvent, SearchResult, Session } from './api.ts';
import type { Archive, Query } from './archive.ts';
import type { ArchiveBucket } from './bucket.ts';
import { cameraRoutes } from './camera-routes.ts';
import { clipRoutes } from './clip-routes.ts';
import { CursorError } from './cursor.ts';
import { type Events, LIVE_HEADERS } from './events.ts';
import { failedPage, RedriveError } from './failed.ts';
import { loginPage, readDraft } from './guard.ts';
import { HttpError, json, type Reply, type Route, type RouteRequest, readBody } from './http.ts';
import { factsOf, type LiveFrames } from './live.ts';
import type { Origin } from './origin.ts';
import { number, STREAM, streamId } from './params.ts';
import { sceneRoutes } from './scene-routes.ts';
import type { StreamsFile } from './streams-file.ts';

const FRAME = '(?<time>\\d{1,16})-(?<number>\\d{1,16})';
const DAY_MS = 86_400_000;

export interface RoutesOptions {
  page: Map<string, Reply>;
  access: Access;
  origin: Origin;
  live: LiveFrames;
  archive: Archive;
  bucket: ArchiveBucket;
  events: Events;
  sceneEvents: (streamId: string) => Promise<SceneEvent[]>;
  streamsFile: StreamsFile;
  /** First folder of annotated frames. */
  prefix: string;
  clipSettings: ClipSettings;
  flow: () => Flow;
  redrive: (key: string) => Promise<void>;
  log: Pick<Logger, 'info'>;
}

/** Everything the console's server answers, page and API. */
export function consoleRoutes(options: RoutesOptions): Route[] {
  const { page, access, live, events, flow } = options;
  const get = (path: string, handle: Route['handle']): Route => ({
    method: 'GET',
    path: new RegExp(`^${path}$`),
    handle,
  });
  return [
    get('/', (request) => pageFile(page, 'index.html', request)),
    get('/page/(?<name>[a-z-]+\\.[a-z]+)', (request) => pageFile(page, request.params.name ?? '', request)),
    get('/health', () => json({ status: 'healthy' })),
    get('/login', () => redirect('./')),
    get('/api/session', () => json({ login: access.hasLogin } satisfies Session)),
    get('/api/live', (request) => followLive(events, request)),
    get('/api/flow', () => json(flow())),
    get('/api/names', async () => json(await namesOf(options))),
    get('/api/search', ({ query }) => search(options, query)),
    get(`/api/streams/${STREAM}/frames`, ({ params }) => json(live.recent(streamId(params.stream)))),
    get(`/api/streams/${STREAM}/last`, async ({ params }) => {
      const frame = await options.archive.last(streamId(params.stream));
      if (!frame) throw new HttpError(404, 'nothing of this stream is stored');
      return json(frame);
    }),
    get(`/api/streams/${STREAM}/timeline`, ({ params, query }) =>
      json(live.timeline(streamId(params.stream), number(query, 'minutes', 15, 1, 360))),
    ),
    get(`/api/streams/${STREAM}/frames/${FRAME}\\.jpg`, ({ params }) => plainPicture(options, params)),
    get(`/api/streams/${STREAM}/frames/${FRAME}\\.json`, ({ params }) => frameFacts(options, params)),
    get(`/api/streams/${STREAM}/annotated/${FRAME}\\.jpg`, ({ params }) => annotatedPicture(options, params)),
    get(`/api/streams/${STREAM}/events`, async ({ params }) =>
      json(await options.sceneEvents(streamId(params.stream))),
    ),
    get('/api/failed', async ({ query }) =>
      json(await failedPage(options.bucket, query.get('cursor') ?? undefined)),
    ),
    { method: 'POST', path: /^\/login$/, handle: (request) => login(options, request) },
    { method: 'POST', path: /^\/logout$/, handle: (request) => logout(options, request) },
    { method: 'POST', path: /^\/api\/failed\/redrive$/, handle: (request) => redriveEntry(options, request) },
    ...clipRoutes(options),
    ...sceneRoutes(options),
    ...cameraRoutes(options),
  ];
}

function pageFile(page: Map<string, Reply>, name: string, { request }: RouteRequest): Reply {
  const file = page.get(name);
  if (!file) throw new HttpError(404, 'not found');
  const isFresh = request.headers['if-none-match'] === file.headers?.etag;
  return isFresh ? { ...file, status: 304, body: '' } : file;
}

// Relative, as a proxy may have taken the first part of the path away. The browser keeps what stands after the '#'.
function redirect(location: string, headers: Reply['headers'] = {}): Reply {
  return { status: 303, type: 'text/plain', body: '', headers: { location, ...headers } };
}

async function login({ access, origin, page }: RoutesOptions, { request }: RouteRequest): Promise<Reply> {
  const token = new URLSearchParams(await readBody(request)).get('token') ?? '';
  const { prefix } = origin;
  const cookie = access.login(token, { isSecure: origin.isSecure(request), prefix });
  if (cookie) return redirect('./', { 'set-cookie': cookie });
  if (request.headers.accept?.includes('text/html')) return loginPage(page, true);
  throw new HttpError(401, 'this is not the token');
}

function logout({ access, origin }: RoutesOptions, { request }: RouteRequest): Reply {
  const { prefix } = origin;
  const cookie = access.logout(request, { isSecure: origin.isSecure(request), prefix });
  return redirect('./', { 'set-cookie': cookie });
}

function followLive(events: Events, { request, query, response }: RouteRequest): Reply | undefined {
  const stream = query.get('stream');
  const asked = stream === null ? undefined : streamId(stream);
  if (events.isFull) throw new HttpError(503, 'too many browsers');
  if (request.method === 'HEAD') return { type: 'text/event-stream', body: '', headers: LIVE_HEADERS };
  events.connect(response, asked);
  return undefined;
}

async function namesOf({ live, archive, streamsFile }: RoutesOptions): Promise<Names> {
  // The live names stay of use while S3 is away.
  const stored = await archive.streams().catch(() => []);
  const streams = [...new Set([...live.streams(), ...stored, ...(streamsFile.ids() ?? [])])].sort();
  return { streams, classes: live.classes() };
}

async function search(options: RoutesOptions, query: URLSearchParams): Promise<Reply> {
  const to = number(query, 'to', Date.now() + 1, 0, MAX_TIME);
  const stream = query.get('stream') || undefined;
  const asked: Query = {
    stream: stream === undefined ? undefined : streamId(stream),
    class: query.get('class') || undefined,
    confidence: number(query, 'confidence', 0, 0, 1),
    from: number(query, 'from', Math.max(0, to - DAY_MS), 0, MAX_TIME),
    to,
    cursor: query.get('cursor') ?? undefined,
  };
  if (asked.from >= asked.to) throw new HttpError(400, 'the range is empty: from must be before to');
  try {
    const result = await options.archive.search(asked);
    const found = result.frames.length > 0 || result.cursor !== undefined;
    const note = found ? undefined : await whyNothing(options, asked);
    return json({ ...result, ...(note ? { note } : {}) } satisfies SearchResult);
  } catch (error) {
    if (error instanceof CursorError) throw new HttpError(400, error.message);
    throw error;
  }
}

/** Names shown of what exists. */
const SHOWN_NAMES = 20;

/** What was asked for and does not exist, and what does. */
async function whyNothing(options: RoutesOptions, asked: Query): Promise<string | undefined> {
  const { streams, classes } = await namesOf(options);
  const { stream, class: className } = asked;
  if (stream !== undefined && !streams.includes(stream))
    return `there is no stream '${stream}'; ${known(streams)}`;
  if (className !== undefined && classes.length > 0 && !classes.includes(className))
    return `no '${className}' was seen of late; ${known(classes)}`;
  return undefined;
}

function known(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_NAMES).join(', ');
  return names.length > SHOWN_NAMES
    ? `there are ${shown} and ${names.length - SHOWN_NAMES} more`
    : `there are ${shown}`;
}

type FrameParams = Record<string, string>;

function plainPicture({ live }: RoutesOptions, params: FrameParams): Reply {
  const frame = live.frame(streamId(params.stream), `${params.time}-${params.number}`);
  if (!frame) throw new HttpError(404, 'this frame is no longer held');
  return { type: 'image/jpeg', body: frame.jpeg, headers: { 'cache-control': 'no-store' } };
}

async function frameFacts({ live, archive }: RoutesOptions, params: FrameParams): Promise<Reply> {
  const stream = streamId(params.stream);
  const held = live.frame(stream, `${params.time}-${params.number}`);
  const facts = held ? factsOf(held) : await archive.find(stream, Number(params.time), Number(params.number));
  if (!facts) throw new HttpError(404, 'no such frame');
  return json(facts);
}

async function annotatedPicture({ bucket, prefix }: RoutesOptions, params: FrameParams): Promise<Reply> {
  const capturedAt = Number(params.time);
  if (capturedAt > MAX_TIME) throw new HttpError(404, 'no such frame');
  const frame = { streamId: streamId(params.stream), capturedAt, frameNumber: Number(params.number) };
  const body = await bucket.read(annotatedKey(prefix, frame)).catch((error) => {
    if (isMissing(error)) throw new HttpError(404, 'not annotated yet, or its picture has expired');
    throw error;
  });
  return { type: 'image/jpeg', body, headers: { 'cache-control': 'private, max-age=3600' } };
}

async function redriveEntry({ redrive }: RoutesOptions, { request }: RouteRequest): Promise<Reply> {
  const { key } = await readDraft<{ key: string }>(request);
  if (typeof key !== 'string') throw new HttpError(400, 'body must be {"key": "failed/..."}');
  try {
    await redrive(key);
    return json({ key });
  } catch (error) {
    if (error instanceof RedriveError) throw new HttpError(409, error.message);
    throw error;
  }
}
