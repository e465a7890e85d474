import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { precisions } from '../session.ts';

/** The schema of an object. @param required names of the properties that it always has */
export function object(required: readonly string[], properties: object, description?: string) {
  return { ...(description && { description }), type: 'object', required, properties };
}

/** A detection as {@link Detection} of `packages/frame`. */
const detection = object(['class_id', 'class_name', 'confidence', 'bbox'], {
  class_id: { type: 'integer', minimum: 0 },
  class_name: { type: 'string' },
  confidence: { type: 'number', minimum: 0, maximum: 1 },
  bbox: {
    type: 'array',
    description: '[x1, y1, x2, y2] in pixels of the frame, origin top left',
    items: { type: 'number' },
    minItems: 4,
    maxItems: 4,
  },
  polygon: {
    type: 'array',
    description:
      "outline of the object's mask, or the corners of its oriented box, [x, y] in pixels of the frame; only from some models",
    items: { type: 'array', items: { type: 'number' }, minItems: 2, maxItems: 2 },
    minItems: 3,
  },
  keypoints: {
    type: 'array',
    description:
      "key points in the model's order, [x, y] in pixels or [x, y, confidence]; only from models that give them",
    items: { type: 'array', items: { type: 'number' }, minItems: 2, maxItems: 3 },
  },
});

const result = object(['frame_number'], {
  frame_number: { type: 'integer' },
  width: { type: 'integer' },
  height: { type: 'integer' },
  detections: { type: 'array', items: detection },
  error: { type: 'string' },
});

/** The answer of `POST /predict`. */
export const predictAnswer = object(
  ['stream_id', 'model', 'results'],
  { stream_id: { type: 'string' }, model: { type: 'string' }, results: { type: 'array', items: result } },
  'one result a frame, in their order; a frame that is no picture has an error in its place',
);

const health = {
  status: { type: 'string', enum: ['healthy', 'unavailable', 'warming up'] },
  model: { type: 'string', description: 'name of the default model' },
  version: { type: 'string', description: "changes with the model file's content" },
  device: { type: 'string', enum: ['cpu', 'openvino', 'cuda', 'tensorrt'] },
  precision: { type: 'string', enum: precisions, description: 'what the runtime computes with' },
  device_fallback: { type: 'string', description: 'why --device auto uses the CPU' },
};

export const healthAnswers = {
  200: object(['status'], health, 'the models run'),
  503: object(
    ['status'],
    health,
    'the models are being warmed up, the server stops, or a model does not run',
  ),
};

const error = {
  error: { type: 'string' },
  limit: { type: 'string', description: 'the setting that was exceeded' },
};
const errorAnswer = (description: string) => object(['error'], error, description);

const tensor = object(['name', 'datatype', 'shape'], {
  name: { type: 'string' },
  datatype: { type: 'string', enum: ['BYTES', 'FP32'] },
  shape: { type: 'array', items: { type: 'integer' } },
  data: { type: 'array', items: { type: 'string' } },
});
const tensors = { type: 'array', items: tensor };

/** A model's metadata in the Open Inference Protocol. */
export const modelAnswer = object(
  ['name', 'versions', 'platform', 'inputs', 'outputs'],
  {
    name: { type: 'string' },
    versions: { type: 'array', items: { type: 'string' } },
    platform: { type: 'string' },
    inputs: tensors,
    outputs: tensors,
  },
  'inputs and outputs of the model; -1 is any number of pictures',
);

/** The answer to an inference request of the Open Inference Protocol. */
export const inferAnswer = object(
  ['model_name', 'model_version', 'outputs'],
  {
    id: { type: 'string' },
    model_name: { type: 'string' },
    model_version: { type: 'string' },
    outputs: { type: 'array', items: { ...tensor, required: [...tensor.required, 'data'] } },
  },
  'one element a picture, in their order: JSON with width, height and detections, or an error',
);

/** Marks the inference routes: their bodies are read as bytes, and described here. */
export const INFER_SUMMARY = 'Open Inference Protocol v2 inference, JSON or binary';

/** The body of an inference request of the Open Inference Protocol. */
const inferBody = {
  required: true,
  content: {
    'application/json': {
      schema: object(['inputs'], {
        id: { type: 'string' },
        parameters: {
          type: 'object',
          properties: { threshold: { type: 'number', minimum: 0, maximum: 1 } },
        },
        inputs: { ...tensors, minItems: 1, maxItems: 1 },
        outputs: { type: 'array', items: object(['name'], { name: { type: 'string' } }) },
      }),
    },
    'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
  },
};

export const errorAnswers = {
  400: errorAnswer('a request that is malformed'),
  404: errorAnswer('no such model'),
  405: errorAnswer('a method that is not allowed; the header Allow names those that are'),
  413: errorAnswer('a body or a number of frames over its limit'),
  415: errorAnswer('a type or an encoding of the body that is not supported'),
  429: errorAnswer('too much work already; Retry-After says when to retry'),
  500: errorAnswer('the runtime failed'),
  503: errorAnswer('the model is being loaded and warmed up'),
  504: errorAnswer('the deadline of x-request-timeout-ms has passed'),
};

/** Serves `/openapi.json`, made from the routes that are added after it. */
export async function addOpenApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: { info: { title: 'Object detection', version: '0.1.0' } },
  });
  app.get('/openapi.json', { schema: { hide: true } }, () => withInferBodies(app.swagger()));
}

/** Adds the bodies only to the description: Fastify would check them as JSON, although they may be binary. */
function withInferBodies(document: object): object {
  const { paths = {} } = document as { paths?: Record<string, Record<string, { summary?: string }>> };
  for (const { post } of Object.values(paths)) {
    if (post?.summary === INFER_SUMMARY) Object.assign(post, { requestBody: inferBody });
  }
  return document;
}
