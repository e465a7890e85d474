import type { SageMakerRuntimeClient } from '@aws-sdk/client-sagemaker-runtime';
import { type InferenceClient, InferenceClientError } from './client.ts';
import { decodeResponse, encodeRequest } from './open-inference.ts';

interface SageMakerClientOptions {
  endpointName: string;
  region: string;
  timeoutMs: number;
  threshold: number;
  client?: Pick<SageMakerRuntimeClient, 'send'>;
}

/**
 * A client for a SageMaker endpoint. It sends the same binary body as over HTTP, with the content type for Triton's
 * SageMaker containers. A Lambda event holds at most 6 MB, so the body stays below the endpoint's limit.
 * @see https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
 */
export function createSageMakerClient(options: SageMakerClientOptions): InferenceClient {
  const { endpointName, region, timeoutMs, threshold } = options;
  // Loaded only where there is such an endpoint, and before the first frame.
  const sdk = import('@aws-sdk/client-sagemaker-runtime');
  let client = options.client;
  return {
    async detect(frames) {
      const { InvokeEndpointCommand, SageMakerRuntimeClient } = await sdk;
      client ??= new SageMakerRuntimeClient({ region });
      const { headerLength, body } = encodeRequest(frames, threshold);
      const command = new InvokeEndpointCommand({
        EndpointName: endpointName,
        ContentType: `application/vnd.sagemaker-triton.binary+json;json-header-size=${headerLength}`,
        Accept: 'application/json',
        Body: body,
      });
      const answer = await client
        .send(command, { abortSignal: AbortSignal.timeout(timeoutMs) })
        .catch((cause) => {
          const own = cause.$metadata?.httpStatusCode;
          throw new InferenceClientError(`SageMaker endpoint '${endpointName}' failed: ${cause.message}`, {
            cause,
            // The container's status, if it answered. SageMaker's own 400 says nothing of the frames: it throttles, or
            // has no such endpoint now.
            status: cause.OriginalStatusCode ?? (own === 400 ? undefined : own),
          });
        });
      return decodeResponse(Buffer.from(answer.Body).toString(), frames, threshold);
    },
  };
}
