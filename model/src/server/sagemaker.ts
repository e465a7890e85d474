import { HttpError } from '@video-pipeline/http';
import type { FastifyInstance } from 'fastify';
import { infer } from './open-inference.ts';
import { errorAnswers } from './openapi.ts';
import { type PredictRequest, predict, predictBody, predictPicture } from './predict.ts';
import type { Service } from './service.ts';

/** Port on which SageMaker calls its containers. */
export const SAGEMAKER_PORT = 8080;

/** Triton's type of binary Open Inference requests for SageMaker, which does not forward custom headers. */
const BINARY_TYPE = 'application/vnd.sagemaker-triton.binary+json';
const invocationAnswer = {
  description: 'the answer of /predict, or that of /v2/models/{model}/infer',
  type: 'object',
  additionalProperties: true,
};
/** Types of a body that is one picture, as for SageMaker's own image models. */
const PICTURE_TYPES = ['image/jpeg', 'image/png', 'image/webp', 'application/x-image'];
/** Parameter of {@link BINARY_TYPE}: number of JSON bytes in the body. */
const HEADER_SIZE = /;\s*json-header-size=(\d+)/;

/**
 * The contract of a SageMaker container: `GET /ping`, `POST /invocations` with `/predict`'s JSON, a binary request, or
 * one picture.
 * @see https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
 */
export function addSageMaker(app: FastifyInstance, service: Service): void {
  const types = [...PICTURE_TYPES, BINARY_TYPE];
  app.addContentTypeParser(types, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.get('/ping', (_request, reply) => {
    reply.status(service.isReady() ? 200 : 503);
    return {};
  });
  app.post<{ Body: PredictRequest }>(
    '/invocations',
    {
      schema: {
        summary:
          "SageMaker's inference: the body and answer of /predict, a binary request of protocol v2, or a picture",
        body: { content: { 'application/json': { schema: predictBody } } },
        response: { 200: invocationAnswer, ...errorAnswers },
      },
    },
    (request, reply) => {
      if (!request.body) throw new HttpError(400, 'the body is empty');
      if (!Buffer.isBuffer(request.body)) return predict(service, request, reply);
      const type = request.headers['content-type'] ?? '';
      if (!type.toLowerCase().startsWith(BINARY_TYPE)) return predictPicture(service, request, reply);
      const size = HEADER_SIZE.exec(type)?.[1];
      return infer(service, request, reply, size === undefined ? undefined : Number(size));
    },
  );
}
