import { urlBelow } from '@video-pipeline/config';
import { factsOf } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import { type DetectionDraft, filterDetections, filtersOf, putDetection } from '@video-pipeline/scene';
import { messageOf } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import type { DetectionPreview, ServedModel, StreamDetection } from './detection-api.ts';
import { type ConsoleRequest, type ConsoleRoute, draftOf, streamOf } from './params.ts';
import type { RoutesOptions } from './routes-options.ts';

type DetectionRoutesOptions = Pick<RoutesOptions, 'streamsFile' | 'live' | 'inferenceUrl' | 'log'>;

/** Longest wait for the inference server, milliseconds. */
const INFERENCE_MS = 8_000;

/** A stream's classes may be nearly all of a model's, which has thousands at most. */
const LARGE = { bodyLimit: 256 * 1024 };

/** Routes for the model of a stream and the detections that are kept: read, try on the newest picture, save. */
export function addDetectionRoutes(app: FastifyInstance, options: DetectionRoutesOptions): void {
  const path = '/api/streams/:stream/detection';
  app.get<ConsoleRoute>(path, (request) => detectionOf(options, streamOf(request)));
  app.post<ConsoleRoute>(path, LARGE, (request) => save(options, request));
  app.post<ConsoleRoute>(`${path}/preview`, LARGE, (request) => preview(options, request));
}

async function detectionOf(
  { streamsFile, inferenceUrl }: DetectionRoutesOptions,
  streamId: string,
): Promise<StreamDetection> {
  const { model, filters } = streamsFile.config(streamId) ?? {};
  const answer = await servedModels(inferenceUrl).then(
    (models) => ({ models }),
    (error) => ({ models: [], problem: messageOf(error) }),
  );
  const { classes, min_confidence } = filters ?? {};
  return { model, classes, min_confidence, ...answer, writable: streamsFile.isWritable };
}

async function save(options: DetectionRoutesOptions, request: ConsoleRequest): Promise<StreamDetection> {
  const { streamsFile, log } = options;
  const stream = streamOf(request);
  const draft = choiceOf(request);
  const { model } = draft;
  if (typeof model === 'string') await checkModel(options, model);
  streamsFile.change((text, where) => putDetection(text, stream, draft, where));
  log.info('saved the choice of detections', { stream, by: request.ip });
  return detectionOf(options, stream);
}

async function preview(options: DetectionRoutesOptions, request: ConsoleRequest): Promise<DetectionPreview> {
  const { streamsFile, live, inferenceUrl } = options;
  const stream = streamOf(request);
  const config = streamsFile.sceneAfter(stream, (text, where) =>
    putDetection(text, stream, choiceOf(request), where),
  );
  const held = live.newestOf(stream);
  if (!held?.jpeg.length) throw new HttpError(404, 'no picture of this stream has come yet');
  const frame = factsOf(held);
  if (config.model !== undefined) await checkModel(options, config.model);
  const answer = await ask(inferenceUrl, 'predict', {
    stream_id: stream,
    frames: [{ frame_number: frame.frame_number, frame_data: held.jpeg.toString('base64') }],
    model: config.model,
  });
  const { model, results } = answer as { model: string; results?: Partial<DetectionPreview>[] };
  const detections = results?.[0]?.detections;
  if (!detections) throw new HttpError(502, 'the inference server could not read the picture');
  return { frame, model, detections: filterDetections(filtersOf(config), { ...frame, detections }).kept };
}

function choiceOf(request: ConsoleRequest): DetectionDraft {
  const { model, classes, min_confidence } = draftOf<DetectionDraft>(request);
  return { model, classes, min_confidence };
}

/** @throws HttpError 422 if the inference server has no such model */
async function checkModel({ inferenceUrl }: DetectionRoutesOptions, name: string): Promise<void> {
  const names = (await servedModels(inferenceUrl)).map((one) => one.name);
  if (!names.includes(name))
    throw new HttpError(422, `there is no model '${name.slice(0, 100)}'; there are: ${names.join(', ')}`);
}

async function servedModels(url: string | undefined): Promise<ServedModel[]> {
  const { models } = (await ask(url, 'models')) as { models?: ServedModel[] };
  if (!Array.isArray(models)) throw new HttpError(502, 'the inference server does not list its models');
  return models;
}

/** @throws HttpError if the inference server does not answer */
async function ask(url: string | undefined, path: string, body?: object): Promise<object> {
  if (url === undefined)
    throw new HttpError(409, 'the console knows no inference server: set INFERENCE_SERVICE_URL');
  const post = body && {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
  try {
    const signal = AbortSignal.timeout(INFERENCE_MS);
    const response = await fetch(urlBelow(url, path), { ...post, signal });
    const text = await response.text();
    if (!response.ok) throw new Error(`it answered ${response.status}: ${text.slice(0, 200)}`);
    return Object(JSON.parse(text));
  } catch (error) {
    throw new HttpError(502, `no answer of the inference server: ${messageOf(error as Error)}`);
  }
}
