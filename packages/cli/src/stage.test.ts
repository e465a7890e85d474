import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findStage } from './stage.ts';

const folder = mkdtempSync(join(tmpdir(), 'stage-'));
afterAll(() => rmSync(folder, { recursive: true }));

function outputs(inference: string): string {
  const file = join(folder, 'outputs.json');
  writeFileSync(file, JSON.stringify({ stage: 'staging', bucket: 'frames', kafka: 'b-1:9098', inference }));
  return file;
}

describe('servers of a stage, by findStage,', () => {
  // What the shell of these tests may have.
  beforeEach(() => {
    for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'INFERENCE_SERVICE_URL']) vi.stubEnv(name, '');
  });
  afterEach(() => void vi.unstubAllEnvs());

  it('are those in the outputs of its deployment', () => {
    expect(findStage('staging', outputs('http://balancer:8000')).variables).toEqual({
      KAFKA_BOOTSTRAP_SERVERS: 'b-1:9098',
      KAFKA_AUTH: 'iam',
      S3_BUCKET: 'frames',
      AWS_ENDPOINT_URL: undefined,
      AWS_REGION: 'us-east-1',
      INFERENCE_SERVICE_URL: 'http://balancer:8000',
      INFERENCE_BACKEND: undefined,
      SAGEMAKER_ENDPOINT_NAME: undefined,
    });
  });

  it('may be stand-ins for AWS, in a file written by hand', () => {
    const file = join(folder, 'by-hand.json');
    const stage = { stage: 'try', bucket: 'frames', kafka: 'b-1:9092', kafkaAuth: 'none' };
    writeFileSync(file, JSON.stringify({ ...stage, endpoint: 'http://127.0.0.1:5000' }));
    const own = { KAFKA_AUTH: 'none', AWS_ENDPOINT_URL: 'http://127.0.0.1:5000' };
    expect(findStage(file).variables).toMatchObject(own);
    writeFileSync(file, JSON.stringify({ ...stage, endpoint: 'moto' }));
    expect(() => findStage(file)).toThrow('AWS_ENDPOINT_URL');
  });

  it('have the name of a SageMaker endpoint in place of a URL', () => {
    expect(findStage('staging', outputs('staging-endpoint')).variables).toMatchObject({
      INFERENCE_SERVICE_URL: undefined,
      INFERENCE_BACKEND: 'sagemaker',
      SAGEMAKER_ENDPOINT_NAME: 'staging-endpoint',
    });
  });

  it.each(['http://balancer:8000', 'staging-endpoint'])(
    'include the INFERENCE_SERVICE_URL of the shell in place of %s, which is reachable only in the VPC',
    (inference) => {
      vi.stubEnv('INFERENCE_SERVICE_URL', 'http://localhost:8000');
      expect(findStage('staging', outputs(inference)).variables).toMatchObject({
        INFERENCE_SERVICE_URL: 'http://localhost:8000',
        INFERENCE_BACKEND: undefined,
      });
    },
  );

  it('are in the region of AWS_REGION or AWS_DEFAULT_REGION', () => {
    vi.stubEnv('AWS_DEFAULT_REGION', 'eu-west-1');
    expect(findStage('staging', outputs('x')).variables.AWS_REGION).toBe('eu-west-1');
    vi.stubEnv('AWS_REGION', 'eu-north-1');
    expect(findStage('staging', outputs('x')).variables.AWS_REGION).toBe('eu-north-1');
  });

  it('are an error if the outputs belong to another stage', () => {
    expect(() => findStage('production', outputs('x'))).toThrow("does not name stage 'production'");
    expect(() => findStage('staging', join(folder, 'none.json'))).toThrow('sst refresh --stage staging');
  });

  it('can be in a file from another machine, which names the stage', () => {
    const file = outputs('x');
    expect(findStage(file, join(folder, 'none.json'))).toEqual({
      stage: 'staging',
      variables: findStage('staging', file).variables,
    });
    writeFileSync(file, '{"stage":"staging"}');
    expect(() => findStage(file)).toThrow(
      "is not what 'sst deploy' writes: it must hold stage, bucket and kafka",
    );
    writeFileSync(file, '{"stage":');
    expect(() => findStage(file)).toThrow("can't be read");
  });
});
