import { expect, test, vi } from 'vitest';
import { findExternalServers } from './external-servers.ts';
import { s3Environment } from './servers/credentials.ts';

test('AWS variables of the shell reach external servers, and not those of the stack', async () => {
  const left = { KAFKA_AUTH: 'iam', KAFKA_RACK: 'use1-az1', INFERENCE_BACKEND: 'sagemaker' };
  for (const [name, value] of Object.entries(left)) vi.stubEnv(name, value);
  for (const name of ['KAFKA_BOOTSTRAP_SERVERS', 'AWS_ENDPOINT_URL', 'INFERENCE_SERVICE_URL'])
    vi.stubEnv(name, undefined);
  const notes: string[] = [];
  expect(await findExternalServers((line) => notes.push(line))).toEqual({});
  expect(Object.keys(left).filter((name) => name in process.env)).toEqual([]);
  expect(notes).toEqual([
    'KAFKA_AUTH is ignored: it has no effect unless KAFKA_BOOTSTRAP_SERVERS is set',
    'KAFKA_RACK is ignored: it has no effect unless KAFKA_BOOTSTRAP_SERVERS is set',
    'INFERENCE_BACKEND is ignored: it has no effect unless INFERENCE_SERVICE_URL is set',
  ]);
});

test('processes of a local stack get no AWS variable except the region', () => {
  vi.stubEnv('AWS_PROFILE', 'work');
  vi.stubEnv('AWS_SESSION_TOKEN', 'token');
  vi.stubEnv('AWS_ENDPOINT_URL_S3', 'https://s3.example');
  vi.stubEnv('AWS_CONFIG_FILE', '/home/ann/.aws/config');
  vi.stubEnv('AWS_REGION', 'eu-west-1');
  const own = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' };
  const env = { ...process.env, ...s3Environment('http://127.0.0.1:9000', own) };
  const aws = Object.entries(env).filter(([name, value]) => name.startsWith('AWS_') && value !== undefined);
  expect(Object.fromEntries(aws)).toEqual({
    ...own,
    AWS_REGION: 'eu-west-1',
    AWS_ENDPOINT_URL: 'http://127.0.0.1:9000',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  });
});
