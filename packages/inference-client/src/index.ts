import { type Config, ConfigError, readConfig } from '@video-pipeline/config';
import { bisecting } from './bisect.ts';
import type { InferenceClient } from './client.ts';
import { createHttpClient } from './http.ts';
import { createSageMakerClient } from './sagemaker.ts';

export * from './client.ts';
export * from './http.ts';
export * from './sagemaker.ts';

/** Variables that select the inference server. */
export const INFERENCE_VARIABLES = [
  'INFERENCE_BACKEND',
  'INFERENCE_SERVICE_URL',
  'INFERENCE_TIMEOUT_SECONDS',
  'INFERENCE_CONFIDENCE_THRESHOLD',
  'SAGEMAKER_ENDPOINT_NAME',
  'AWS_REGION',
] as const;
type InferenceConfig = Config<(typeof INFERENCE_VARIABLES)[number]>;

/**
 * The inference client that the environment selects. A frame that the server refuses gets an error of its own. Nothing
 * is sent before the first call.
 * @throws ConfigError when the SageMaker endpoint has no name
 * @example
 * const results = await createInferenceClient().detect(frames); // for each frame its detections, or an error
 */
export function createInferenceClient(
  config: InferenceConfig = readConfig(INFERENCE_VARIABLES),
): InferenceClient {
  return bisecting(createClient(config));
}

function createClient(config: InferenceConfig): InferenceClient {
  const timeoutMs = config.INFERENCE_TIMEOUT_SECONDS * 1000;
  const threshold = config.INFERENCE_CONFIDENCE_THRESHOLD;
  if (config.INFERENCE_BACKEND === 'http') {
    return createHttpClient({ url: config.INFERENCE_SERVICE_URL, timeoutMs, threshold });
  }
  const endpointName = config.SAGEMAKER_ENDPOINT_NAME;
  if (!endpointName) {
    throw new ConfigError('SAGEMAKER_ENDPOINT_NAME is needed when INFERENCE_BACKEND is sagemaker');
  }
  return createSageMakerClient({ endpointName, region: config.AWS_REGION, timeoutMs, threshold });
}
