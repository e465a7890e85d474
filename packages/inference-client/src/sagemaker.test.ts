import { ConfigError, readConfig } from '@video-pipeline/config';
import type { Frame } from '@video-pipeline/frame';
import { expect, test } from 'vitest';
import {
  createInferenceClient,
  createSageMakerClient,
  INFERENCE_VARIABLES,
  InferenceClientError,
} from './index.ts';

const frame: Frame = {
  streamId: 'gate',
  frameNumber: 0,
  session: 's',
  capturedAt: 0,
  width: 10,
  height: 10,
  jpeg: Buffer.from('jpeg'),
};
const options = { endpointName: 'cameras', region: 'us-east-1', timeoutMs: 1000, threshold: 0.4 };

test('the SageMaker request has a JSON header, its length in the content type, and then the JPEGs', async () => {
  let input: { EndpointName?: string; ContentType?: string; Body?: Buffer } = {};
  const result = { width: 10, height: 10, detections: [] };
  const answer = { model_name: 'm', outputs: [{ name: 'detections', data: [JSON.stringify(result)] }] };
  const client = {
    send: async (command: { input: typeof input }) => {
      input = command.input;
      return { Body: new TextEncoder().encode(JSON.stringify(answer)) };
    },
  };
  const detector = createSageMakerClient({ ...options, client: client as never });
  expect(await detector.detect([frame])).toEqual([{ model: 'm', ...result }]);
  expect(input.EndpointName).toBe('cameras');
  const size = Number(input.ContentType?.match(/json-header-size=(\d+)$/)?.[1]);
  expect(JSON.parse(String(input.Body?.subarray(0, size)))).toMatchObject({ parameters: { threshold: 0.4 } });
  expect(input.Body?.subarray(size + 4)).toEqual(frame.jpeg);
});

test.each([
  ['the service', 429, { $metadata: { httpStatusCode: 429 } }],
  ['the container', 413, { $metadata: { httpStatusCode: 424 }, OriginalStatusCode: 413 }],
  // As ThrottlingException and ValidationError, "Endpoint cameras of account 1 not found": no fault of the frames.
  ['the service for all requests', undefined, { $metadata: { httpStatusCode: 400 } }],
])('a failure of %s is an error with its status code', async (_who, status, facts) => {
  const cause = Object.assign(new Error('refused'), facts);
  const detector = createSageMakerClient({
    ...options,
    client: { send: () => Promise.reject(cause) } as never,
  });
  const failed = detector.detect([frame]);
  await expect(failed).rejects.toThrow(InferenceClientError);
  await expect(failed).rejects.toMatchObject({ status, message: expect.stringContaining('cameras') });
});

test('an endpoint without a name is a configuration error', () => {
  const config = readConfig(INFERENCE_VARIABLES, { INFERENCE_BACKEND: 'sagemaker' });
  expect(() => createInferenceClient(config)).toThrow(ConfigError);
});
