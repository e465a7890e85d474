import { ConfigError } from '@video-pipeline/config';
import { type ShapeKind, StreamsError } from '@video-pipeline/scene';
import type { Logger } from '@video-pipeline/telemetry';
import type { ShapeDraft } from './api.ts';
import { readDraft } from './guard.ts';
import { HttpError, json, type Reply, type Route, type RouteRequest } from './http.ts';
import { STREAM, streamId } from './params.ts';
import type { StreamsFile } from './streams-file.ts';

interface SceneRoutesOptions {
  streamsFile: StreamsFile;
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
    route('GET', 'scene', ({ params }) => sceneAfter(options, streamId(params.stream), () => {})),
    route('POST', '(?<kind>zone|line)s', (request) => saveShape(options, request)),
    route('DELETE', '(?<kind>zone|line)s/(?<name>[^/]+)', (request) => removeShape(options, request)),
  ];
}

async function saveShape(options: SceneRoutesOptions, { request, params }: RouteRequest): Promise<Reply> {
  const stream = streamId(params.stream);
  const draft = await readDraft<ShapeDraft>(request);
  const { name } = draft;
  if (typeof name !== 'string') {
    throw new HttpError(400, 'body must be {"name": ..., "polygon": [[x, y], ...]} or {..., "from", "to"}');
  }
  const kind = params.kind as ShapeKind;
  const events = draft.events === true;
  const shape =
    kind === 'zone'
      ? { kind, name, events, polygon: draft.polygon }
      : { kind, name, events, from: draft.from, to: draft.to };
  return sceneAfter(options, stream, () => {
    options.streamsFile.put(stream, shape);
    options.log.info(`saved a ${kind}`, { stream, name });
  });
}

function removeShape(options: SceneRoutesOptions, { params }: RouteRequest): Reply {
  const stream = streamId(params.stream);
  const [kind, name] = [params.kind as ShapeKind, params.name ?? ''];
  return sceneAfter(options, stream, () => {
    options.streamsFile.remove(stream, { kind, name });
    options.log.info(`removed a ${kind}`, { stream, name });
  });
}

/** The scene after a change. What is wrong with the list of streams is for whoever asked to mend. */
function sceneAfter({ streamsFile }: SceneRoutesOptions, stream: string, change: () => void): Reply {
  try {
    change();
    return json(streamsFile.scene(stream));
  } catch (error) {
    if (error instanceof StreamsError) throw new HttpError(422, error.message);
    if (error instanceof ConfigError) throw new HttpError(409, error.message);
    throw error;
  }
}
