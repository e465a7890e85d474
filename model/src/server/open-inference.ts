import { crc32 } from 'node:zlib';
import { HttpError } from '@video-pipeline/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Detector } from '../detector.ts';
import { INPUT_NAME, OUTPUT_NAME, readInferRequest } from './open-inference-codec.ts';
import { errorAnswers, INFER_SUMMARY, inferAnswer, modelAnswer } from './openapi.ts';
import { clientOf, detect, detectHeaders, detectorFor, endOf, type Service } from './service.ts';
import { encodeTensors, framesOf, tensorConfig } from './tensors.ts';

/** Header with the number of JSON bytes in the body; the rest is binary. */
const HEADER_LENGTH = 'inference-header-content-length';

const inferHeaders = {
  type: 'object',
  properties: {
    ...detectHeaders,
    [HEADER_LENGTH]: {
      type: 'integer',
      minimum: 0,
      description: 'bytes of the body that are JSON; the rest is binary',
    },
  },
};

type ModelRoute = { Params: { model: string; version?: string } };
/** A model's routes, without and with its version. */
const MODEL_PATHS = ['/v2/models/:model', '/v2/models/:model/versions/:version'];

/**
 * The Open Inference Protocol v2: health, metadata and inference.
 * @see https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 */
export async function addOpenInference(app: FastifyInstance, service: Service): Promise<void> {
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    scope.get('/v2', () => ({
      name: 'video-pipeline-model',
      version: '0.1.0',
      extensions: ['binary_tensor_data'],
    }));
    scope.get('/v2/health/live', () => ({ live: true }));
    scope.get('/v2/health/ready', (_request, reply) => ready(service, reply));
    for (const path of MODEL_PATHS) addModel(scope, service, path);
  });
}

function addModel(scope: FastifyInstance, service: Service, path: string): void {
  scope.get<ModelRoute>(
    path,
    {
      schema: {
        summary: 'Inputs and outputs of a model',
        response: { 200: modelAnswer, 404: errorAnswers[404] },
      },
    },
    ({ params }) => describeModel(versionOf(service, params)),
  );
  scope.get<ModelRoute>(
    `${path}/config`,
    { schema: { summary: "The model's own tensors, as Triton's model configuration" } },
    ({ params }) => tensorConfig(versionOf(service, params).model),
  );
  scope.get<ModelRoute>(`${path}/ready`, ({ params }, reply) => {
    versionOf(service, params);
    return ready(service, reply);
  });
  scope.post<ModelRoute & { Headers: { [HEADER_LENGTH]?: number } }>(
    `${path}/infer`,
    {
      schema: {
        summary: INFER_SUMMARY,
        headers: inferHeaders,
        response: { 200: inferAnswer, ...errorAnswers },
      },
    },
    (request, reply) => {
      // A number, as the schema says.
      const headerLength = request.headers[HEADER_LENGTH] as number | undefined;
      versionOf(service, request.params);
      return infer(service, request, reply, headerLength, request.params.model);
    },
  );
}

/** @throws HttpError 404 when there is no such model, or not in that version */
function versionOf(service: Service, { model: name, version }: ModelRoute['Params']): Detector {
  const detector = detectorFor(service, name);
  if (version === undefined || version === detector.model.version) return detector;
  throw new HttpError(404, `model '${name}' has no version '${version}'; there is ${detector.model.version}`);
}

/**
 * Answers one inference request whose body is in `request.body` as bytes.
 * @param headerLength number of JSON bytes in the body
 * @param model name of the model; default: the default model
 */
export async function infer(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  headerLength: number | undefined,
  model?: string,
): Promise<object> {
  const detector = detectorFor(service, model);
  if (!Buffer.isBuffer(request.body)) throw new HttpError(400, 'the body is empty');
  const { id, pictures, threshold, tensor } = readInferRequest(
    request.body,
    headerLength,
    service.limits.maxFrames,
  );
  const model_name = detector.model.name;
  const model_version = detector.model.version;
  if (tensor) {
    const { frames, dims } = framesOf(detector.model, tensor, service.limits.maxFrames);
    // 0: a tensor has a hundred times the bytes of a picture, and must not enter the estimate of a picture's size.
    request.hasArrived?.(0);
    if (!detector.inputSizes.isReadyFor(dims))
      throw new HttpError(
        400,
        `the runtime is tuned to each shape, and not yet to [${tensor.shape}]: send pictures`,
      );
    const signal = endOf(request, reply);
    const tensors = await detector.ask({ frames, dims, client: clientOf(request), signal });
    const { body, headerLength } = encodeTensors({ id, model_name, model_version }, tensors, tensor.outputs);
    reply.header(HEADER_LENGTH, headerLength).type('application/octet-stream');
    return body;
  }
  const results = await detect(service, detector, { request, reply }, pictures, threshold);
  return {
    id,
    model_name,
    model_version,
    outputs: [
      {
        name: OUTPUT_NAME,
        datatype: 'BYTES',
        shape: [results.length],
        // The picture's checksum lets a client check that each result belongs to its picture.
        data: results.map((result, index) =>
          JSON.stringify({ ...result, crc32: crc32(pictures[index] ?? '') }),
        ),
      },
    ],
  };
}

function ready(service: Service, reply: FastifyReply): object {
  const isReady = service.isReady();
  if (!isReady) reply.status(503);
  return { ready: isReady };
}

function describeModel({ model }: Detector): object {
  return {
    name: model.name,
    versions: [model.version],
    platform: 'onnxruntime_onnx',
    inputs: [{ name: INPUT_NAME, datatype: 'BYTES', shape: [-1] }],
    outputs: [{ name: OUTPUT_NAME, datatype: 'BYTES', shape: [-1] }],
  };
}
