import { DAY_MS } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import { replayScene, storedDetections } from '@video-pipeline/recovery/scene-replay';
import { putShape, removeShape, type Shape, type ShapeKind } from '@video-pipeline/scene';
import type { Reader } from '@video-pipeline/storage';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ScenePreview, ShapeDraft, StreamScene } from './api.ts';
import { type ConsoleRequest, type ConsoleRoute, disconnectSignal, draftOf, streamOf } from './params.ts';
import type { RoutesOptions } from './routes-options.ts';
import type { Edit } from './streams-file.ts';

type SceneRoutesOptions = Pick<RoutesOptions, 'streamsFile' | 'prefix' | 'log'> & {
  bucket: Reader;
  /** How long a preview may read, milliseconds. */
  previewMs?: number;
};

/** Routes for the zones and lines of a stream: read, save, remove. Each answers with the new scene. */
export function addSceneRoutes(app: FastifyInstance, options: SceneRoutesOptions): void {
  const { streamsFile, log } = options;
  const change = (stream: string, what: string, name: string, edit: Edit): StreamScene => {
    streamsFile.change(edit);
    log.info(what, { stream, name });
    return streamsFile.scene(stream);
  };
  app.get<ConsoleRoute>('/api/streams/:stream/scene', (request) => streamsFile.scene(streamOf(request)));
  for (const kind of ['zone', 'line'] as const) {
    const path = `/api/streams/:stream/${kind}s`;
    app.post<ConsoleRoute>(path, (request) => {
      const [stream, shape] = [streamOf(request), shapeOf(kind, request)];
      return change(stream, `saved a ${kind}`, shape.name, (text, where) =>
        putShape(text, stream, shape, where),
      );
    });
    app.post<ConsoleRoute>(`${path}/preview`, (request, reply) =>
      previewShape(options, kind, request, reply),
    );
    app.delete<ConsoleRoute>(`${path}/:name`, (request) => {
      const stream = streamOf(request);
      const { name = '' } = request.params;
      return change(stream, `removed a ${kind}`, name, (text, where) =>
        removeShape(text, stream, { kind, name }, where),
      );
    });
  }
}

/** @throws HttpError */
function shapeOf(kind: ShapeKind, request: ConsoleRequest): Shape {
  const { name, events, polygon, from, to, was, classes, seconds, count, exclude, direction } =
    draftOf<ShapeDraft>(request);
  if (typeof name !== 'string') {
    throw new HttpError(400, 'body must be {"name": ..., "polygon": [[x, y], ...]} or {..., "from", "to"}');
  }
  const base = { name, events: events === true, was, classes, seconds, count, exclude, direction };
  return kind === 'zone' ? { ...base, kind, polygon } : { ...base, kind, from, to };
}

/** Longest time of a preview, milliseconds. Then it returns what it has found. */
const PREVIEW_BUDGET_MS = 6_000;
const PREVIEW_EVENTS = 24;

/** Runs the detections of the last day through the drafted scene, until the browser disconnects or the time is over. */
async function previewShape(
  options: SceneRoutesOptions,
  kind: ShapeKind,
  request: ConsoleRequest,
  reply: FastifyReply,
): Promise<ScenePreview> {
  const stream = streamOf(request);
  const shape = { ...shapeOf(kind, request), events: true };
  const config = options.streamsFile.sceneAfter(stream, (text, where) =>
    putShape(text, stream, shape, where),
  );
  const late = AbortSignal.timeout(options.previewMs ?? PREVIEW_BUDGET_MS);
  const signal = AbortSignal.any([disconnectSignal(reply), late]);
  const to = Date.now();
  const range = { streamId: stream, from: to - DAY_MS, to };
  const { frames, events, until } = await replayScene(storedDetections(options.bucket, range, signal), {
    ...range,
    config,
    prefix: options.prefix,
    onForeign: ({ message }) => options.log.info('skipped in a preview', { stream, reason: message }),
  });
  const reported = events.filter((event) => event[kind] === shape.name).reverse();
  return {
    from: range.from,
    until: signal.aborted ? until : to,
    to,
    frames,
    count: reported.length,
    events: reported.slice(0, PREVIEW_EVENTS),
  };
}
