import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { graphOf, ofType, one } from './graphs.ts';

/** An AWS whose endpoint is on `old` until it is updated; with ROLLS_BACK it goes back to it. */
const STAND_IN = `#!/bin/sh
echo "$*" >> "$DIR/calls"
case "$*" in
  *describe-endpoint*) cat "$DIR/configuration" ;;
  *update-endpoint*) test -n "$ROLLS_BACK" || echo new > "$DIR/configuration" ;;
esac
`;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sagemaker-'));
  await writeFile(join(dir, 'aws'), STAND_IN);
  await chmod(join(dir, 'aws'), 0o755);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('a deploy of a SageMaker endpoint that scales', () => {
  /** Runs what the deploy runs. @returns the calls of AWS that it made */
  async function update(from: string, env: NodeJS.ProcessEnv = {}): Promise<string[]> {
    const { inputs } = one(await graphOf('hosted'), 'command:local:Command', 'InferenceUpdate');
    await writeFile(join(dir, 'configuration'), from);
    await writeFile(join(dir, 'calls'), '');
    const given = { ...inputs.environment, CONFIGURATION: 'new', PATH: `${dir}:${process.env.PATH}` };
    await promisify(execFile)('/bin/sh', ['-c', inputs.create], { env: { DIR: dir, ...given, ...env } });
    return (await readFile(join(dir, 'calls'), 'utf8')).trim().split('\n');
  }

  test('updates the endpoint with a command that retains its number of instances', async () => {
    const endpoint = one(await graphOf('hosted'), 'aws:sagemaker/endpoint:Endpoint', 'InferenceEndpoint');
    expect(endpoint.ignoreChanges).toContain('endpointConfigName');
    const calls = await update('old');
    expect(calls.filter((call) => call.includes('update-endpoint'))).toEqual([
      'sagemaker update-endpoint --endpoint-name video-pipeline-hosted --endpoint-config-name new --retain-all-variant-properties',
    ]);
    expect(calls.at(-2)).toBe('sagemaker wait endpoint-in-service --endpoint-name video-pipeline-hosted');
  });

  test('calls no update when the endpoint already has the configuration, as after the first deploy', async () => {
    expect(await update('new')).toEqual([expect.stringContaining('describe-endpoint')]);
  });

  test('fails when AWS rolled the endpoint back', async () => {
    await expect(update('old', { ROLLS_BACK: '1' })).rejects.toMatchObject({
      stderr: 'video-pipeline-hosted was rolled back to old\n',
    });
  });

  test('runs the update command again when the endpoint configuration changes', async () => {
    const { inputs } = one(await graphOf('hosted'), 'command:local:Command', 'InferenceUpdate');
    const { name } = one(
      await graphOf('hosted'),
      'aws:sagemaker/endpointConfiguration:EndpointConfiguration',
      'InferenceConfiguration',
    );
    expect(inputs.environment).toEqual({
      AWS_REGION: 'us-east-1',
      ENDPOINT: 'video-pipeline-hosted',
      CONFIGURATION: name,
    });
  });
});

test('a serverless SageMaker endpoint is updated by Pulumi itself', async () => {
  const graph = await graphOf('personal');
  expect(ofType(graph, 'command:local:Command')).toEqual([]);
  const endpoint = one(graph, 'aws:sagemaker/endpoint:Endpoint', 'InferenceEndpoint');
  expect(endpoint.ignoreChanges).toEqual([]);
});

test.each(['personal', 'hosted'] as const)(
  'the log group of the SageMaker endpoint of %s has a retention',
  async (deployed) => {
    const graph = await graphOf(deployed);
    const endpoint = one(graph, 'aws:sagemaker/endpoint:Endpoint', 'InferenceEndpoint');
    const group = one(graph, 'aws:cloudwatch/logGroup:LogGroup', 'InferenceLogs');
    expect(group.inputs.name).toBe(`/aws/sagemaker/Endpoints/${endpoint.inputs.name}`);
    expect(group.inputs.retentionInDays).toBeGreaterThan(0);
    expect(endpoint.dependsOn).toContain(group.name);
  },
);

test('GPU endpoints get the driver of the image, time to start, and INFERENCE_DEVICE=cuda', async () => {
  const graph = await graphOf('hosted');
  const { productionVariants } = one(
    graph,
    'aws:sagemaker/endpointConfiguration:EndpointConfiguration',
    'InferenceConfiguration',
  ).inputs;
  // Driver 580 and CUDA 13, by AWS's list of host images.
  expect(productionVariants[0].inferenceAmiVersion).toBe('al2023-ami-sagemaker-inference-gpu-4-1');
  // As long as on EKS, where a pod has 20 minutes to start (kubernetes.test.ts).
  expect(productionVariants[0].containerStartupHealthCheckTimeoutInSeconds).toBe(20 * 60);
  const { environment } = one(graph, 'aws:sagemaker/model:Model', 'InferenceModel').inputs.primaryContainer;
  expect(environment).toMatchObject({ INFERENCE_DEVICE: 'cuda', MAX_QUEUED_FRAMES: '4096' });
});

test('a serverless SageMaker endpoint requests at most the memory that a new account may use', async () => {
  const { inputs } = one(
    await graphOf('personal'),
    'aws:sagemaker/endpointConfiguration:EndpointConfiguration',
    'InferenceConfiguration',
  );
  expect(inputs.productionVariants[0].serverlessConfig.memorySizeInMb).toBeLessThanOrEqual(3072);
});
