import { HttpError } from '@video-pipeline/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { fromBase64 } from './base64.ts';
import { errorAnswers, object, predictAnswer } from './openapi.ts';
import { detect, detectHeaders, detectorFor, type Service } from './service.ts';

export interface PredictRequest {
  stream_id: string;
  frames: { frame_number: number; frame_data: string }[];
  model?: string;
  threshold?: number;
}

export const predictBody = object(['stream_id', 'frames'], {
  stream_id: { type: 'string' },
  model: { type: 'string', description: 'name of a model; the default one without it' },
  threshold: { type: 'number', minimum: 0, maximum: 1, description: 'detections under it are left out' },
  frames: {
    type: 'array',
    items: object(['frame_number', 'frame_data'], {
      frame_number: { type: 'integer', minimum: 0 },
      frame_data: { type: 'string', description: 'a JPEG (or PNG, WebP) in base64' },
    }),
  },
});

export function addPredict(app: FastifyInstance, service: Service): void {
  app.post<{ Body: PredictRequest }>(
    '/predict',
    {
      schema: {
        summary: 'Detect objects in frames',
        headers: { type: 'object', properties: detectHeaders },
        body: predictBody,
        response: { 200: predictAnswer, ...errorAnswers },
      },
    },
    (request, reply) => predict(service, request, reply),
  );
}

/** Answers a request whose body is a single picture, in the form of `/predict` with one frame. */
export async function predictPicture(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<object> {
  const detector = detectorFor(service);
  if (!Buffer.isBuffer(request.body) || request.body.length === 0)
    throw new HttpError(400, 'the body is empty');
  const [result] = await detect(service, detector, { request, reply }, [request.body]);
  return { stream_id: '', model: detector.model.name, results: [{ frame_number: 0, ...result }] };
}

/** Answers in the frames' order; a frame that is no picture gets an `error` in its place. */
export async function predict(
  service: Service,
  request: FastifyRequest<{ Body: PredictRequest }>,
  reply: FastifyReply,
): Promise<object> {
  const { stream_id, frames, model, threshold } = request.body;
  const detector = detectorFor(service, model);
  const pictures = frames.map(({ frame_data }) => fromBase64(frame_data));
  const readable = pictures.filter((picture) => picture !== undefined);
  const results = await detect(service, detector, { request, reply }, readable, threshold);
  return {
    stream_id,
    model: detector.model.name,
    results: pictures.map((picture, index) => ({
      frame_number: frames[index]?.frame_number,
      ...(picture ? results.shift() : { error: 'frame_data is not base64' }),
    })),
  };
}
