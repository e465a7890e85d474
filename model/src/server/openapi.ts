import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';

/** A detection as {@link Detection} of `packages/frame`. */
const detection = {
  type: 'object',
  required: ['class_id', 'class_name', 'confidence', 'bbox'],
  properties: {
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
  },
};

/** What `POST /predict` answers. */
export const predictAnswer = {
  description: 'one result a frame, in their order; a frame that is no picture has an error in its place',
  type: 'object',
  properties: {
    stream_id: { type: 'string' },
    model: { type: 'string' },
    results: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          frame_number: { type: 'integer' },
          width: { type: 'integer' },
          height: { type: 'integer' },
          detections: { type: 'array', items: detection },
          error: { type: 'string' },
        },
      },
    },
  },
};

const errorAnswer = (description: string) => ({
  description,
  type: 'object',
  properties: {
    error: { type: 'string' },
    limit: { type: 'string', description: 'the setting that was exceeded' },
  },
});

/** What every route that infers may answer instead. */
export const errorAnswers = {
  400: errorAnswer('a request that is malformed'),
  404: errorAnswer('no such model'),
  413: errorAnswer('a body or a number of frames over its limit'),
  429: errorAnswer('too much work already; Retry-After says when to come again'),
  500: errorAnswer('the runtime failed'),
  504: errorAnswer('the deadline of x-request-timeout-ms has passed'),
};

/** Serves `/openapi.json`, made from the routes that are added after it. */
export async function addOpenApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: { info: { title: 'Object detection', version: '0.1.0' } },
  });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}
