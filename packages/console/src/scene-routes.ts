import { ConfigError } from '@video-pipeline/config';
import { replayScene, storedDetections } from '@video-pipeline/recovery/scene-replay';
import { type Shape, type ShapeKind, StreamsError } from '@video-pipeline/scene';
import type { Reader } from '@video-pipeline/storage';
import type { Logger } from '@video-pipeline/telemetry';
import type { ScenePreview, ShapeDraft } from './api.ts';
import { readDraft } from './guard.ts';
import { HttpError, json, type Reply, type Route, type RouteRequest } from './http.ts';
import { STREAM, streamId } from './params.ts';
import type { StreamsFile } from './streams-file.ts';

interface SceneRoutesOptions {
  streamsFile: StreamsFile;
  bucket: Reader;
  /** First folder of annotated frames. */
  prefix: string;
  /** How long a preview may read, milliseconds. */
  previewMs?: number;
  log: Pick<Logger, 'info'>;
}

/** What divides the pictures of a stream: told, drawn, taken out. Each answers with the scene as it is then. */
export function sceneRoutes(options: SceneRoutesOptions): Route[] {
  const route = (method: Route['method'], path: string, handle: Route['handle']): Route => ({
    method,
    path: new RegExp(`^/api/streams/${STREAM}/${path}$`),
    handle,
  });
  return [
    route('GET', 'scene', ({ params }) =>
      json(refusing(() => options.streamsFile.scene(streamId(params.stream)))),
    ),
    route('POST', '(?<kind>zone|line)s', (request) => saveShape(options, request)),
    route('POST', '(?<kind>zone|line)s/preview', (request) => previewShape(options, request)),
    route('DELETE', '(?<kind>zone|line)s/(?<name>[^/]+)', (request) => removeShape(options, request)),
  ];
}

async function saveShape(options: SceneRoutesOptions, request: RouteRequest): Promise<Reply> {
  const stream = streamId(request.params.stream);
  const shape = await shapeOf(request);
  return json(
    refusing(() => {
      options.streamsFile.put(stream, shape);
      options.log.info(`saved a ${shape.kind}`, { stream, name: shape.name });
      return options.streamsFile.scene(stream);
    }),
  );
}

/** @throws HttpError */
async function shapeOf({ request, params }: RouteRequest): Promise<Shape> {
  const { name, events, polygon, from, to } = await readDraft<ShapeDraft>(request);
  if (typeof name !== 'string') {
    throw new HttpError(400, 'body must be {"name": ..., "polygon": [[x, y], ...]} or {..., "from", "to"}');
  }
  const said = { name, events: events === true };
  return params.kind === 'zone' ? { ...said, kind: 'zone', polygon } : { ...said, kind: 'line', from, to };
}

const PREVIEW_MS = 24 * 3_600_000;
/** Whoever waits for a preview gets what was found by then. */
const PREVIEW_BUDGET_MS = 6_000;
const PREVIEW_EVENTS = 24;

/** Runs what was seen in the last day through the scene as it would be, until the browser goes or time is up. */
async function previewShape(options: SceneRoutesOptions, request: RouteRequest): Promise<Reply> {
  const stream = streamId(request.params.stream);
  const shape = { ...(await shapeOf(request)), events: true };
  const config = refusing(() => options.streamsFile.sceneWith(stream, shape));
  const gone = new AbortController();
  request.response.on('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(options.previewMs ?? PREVIEW_BUDGET_MS)]);
  const to = Date.now();
  const range = { streamId: stream, from: to - PREVIEW_MS, to };
  const { frames, events, until } = await replayScene(storedDetections(options.bucket, range, signal), {
    ...range,
    config,
    prefix: options.prefix,
  });
  const told = events.filter((event) => event[shape.kind] === shape.name).reverse();
  const { from } = range;
  return json({
    from,
    until: signal.aborted ? until : to,
    to,
    frames,
    count: told.length,
    events: told.slice(0, PREVIEW_EVENTS),
  } satisfies ScenePreview);
}

function removeShape({ streamsFile, log }: SceneRoutesOptions, { params }: RouteRequest): Reply {
  const stream = streamId(params.stream);
  const [kind, name] = [params.kind as ShapeKind, params.name ?? ''];
  return json(
    refusing(() => {
      streamsFile.remove(stream, { kind, name });
      log.info(`removed a ${kind}`, { stream, name });
      return streamsFile.scene(stream);
    }),
  );
}

/** What is wrong with the list of streams is for whoever asked to mend. @throws HttpError */
function refusing<Result>(use: () => Result): Result {
  try {
    return use();
  } catch (error) {
    if (error instanceof StreamsError) throw new HttpError(422, error.message);
    if (error instanceof ConfigError) throw new HttpError(409, error.message);
    throw error;
  }
}
