import { expect, test } from 'vitest';
import { ConfigError, readConfig, type VariableName } from './config.ts';
import { variables } from './variables.ts';

const names = Object.keys(variables) as VariableName[];

test('an empty environment gives the default of each variable', () => {
  const config = readConfig(names, {});
  expect(config.KAFKA_TOPIC).toBe('video-frames');
  expect(config.BATCH_SIZE).toBe(25);
  expect(config.BATCH_TIMEOUT_SECONDS).toBe(5);
  expect(config.INFERENCE_CONFIDENCE_THRESHOLD).toBe(0.5);
  expect(config.AWS_ENDPOINT_URL).toBeUndefined();
});

test('an empty variable counts as unset', () => {
  expect(readConfig(['BATCH_SIZE'], { BATCH_SIZE: '' }).BATCH_SIZE).toBe(25);
});

test.each<[VariableName, string]>([
  ['KAFKA_BOOTSTRAP_SERVERS', 'user:secret-7@broker'],
  ['KAFKA_AUTH', 'secret-7'],
  ['INFERENCE_SERVICE_URL', 'secret-7'],
  ['BATCH_SIZE', 'secret-7'],
  ['BATCH_SIZE', '2.5'],
  ['BATCH_SIZE', '0'],
  ['INFERENCE_CONFIDENCE_THRESHOLD', '1.01'],
  ['S3_PREFIX', '/secret-7'],
  ['S3_PREFIX', 'detections'],
  ['S3_PREFIX', 'tables/secret-7'],
  ['LOG_LEVEL', 'secret-7'],
  ['DEPLOY_CIDRS', '300.0.113.7/32'],
  ['DEPLOY_CIDRS', '203.0.113.7'],
  ['DEPLOY_CIDRS', '203.0.113.7/32,10.0.0.0/33'],
  ['MQTT_URL', 'mqtts://user:secret-7@broker'],
  ['OTEL_EXPORTER_OTLP_ENDPOINT', 'https://user:secret-7@collector'],
  ['WEBHOOK_URL', 'https://user:secret-7@hooks.example.com/'],
  ['WEBHOOK_URL', 'https:secret-7@hooks.example.com/'],
  ['CLUSTER_ADMINS', 'arn:aws:iam::123456789012:role/one,secret-7'],
])("%s=%s is rejected, and the error has the variable's name and not its value", (name, value) => {
  const read = () => readConfig([name], { [name]: value });
  expect(read).toThrow(ConfigError);
  expect(read).toThrow(new RegExp(`^${name} `));
  expect(read).not.toThrow(/secret-7|2\.5|1\.01|\.113\./);
});

test('a URL may contain an @ that is not part of a password', () => {
  const WEBHOOK_URL = 'https://hooks.example.com/to/me@example.com?from=you@example.com';
  expect(readConfig(['WEBHOOK_URL'], { WEBHOOK_URL })).toEqual({ WEBHOOK_URL });
});

test('INFERENCE_BATCH_SIZES is sorted, and rejects a zero, a fraction or an empty item', () => {
  const read = (value: string) =>
    readConfig(['INFERENCE_BATCH_SIZES'], { INFERENCE_BATCH_SIZES: value }).INFERENCE_BATCH_SIZES;
  expect(read('50,8,25')).toEqual([8, 25, 50]);
  expect(read('1')).toEqual([1]);
  expect(read('')).toBeUndefined();
  for (const wrong of ['0', '8,', '8,,25', '2.5', '-1', '10000', '8 25']) {
    expect(() => read(wrong), wrong).toThrow(/^INFERENCE_BATCH_SIZES must be whole numbers from 1 to 9999/);
  }
});

test('two topic variables with the same name are an error', () => {
  const names = ['KAFKA_TOPIC', 'KAFKA_DETECTIONS_TOPIC', 'KAFKA_EVENTS_TOPIC'] as const;
  expect(() => readConfig(names, { KAFKA_DETECTIONS_TOPIC: 'video-frames' })).toThrow(
    /^KAFKA_DETECTIONS_TOPIC must not be the topic of other records, too$/,
  );
  expect(readConfig(names, { KAFKA_TOPIC: 'a', KAFKA_DETECTIONS_TOPIC: 'b' }).KAFKA_EVENTS_TOPIC).toBe(
    'events',
  );
});

test('one error names all invalid variables', () => {
  expect(() => readConfig(['BATCH_SIZE', 'FRAME_RATE'], { BATCH_SIZE: 'x', FRAME_RATE: 'y' })).toThrow(
    /BATCH_SIZE .*; FRAME_RATE /,
  );
});

test('each variable has a description', () => {
  for (const name of names) expect(variables[name].description, name).toBeTruthy();
});

test.each([
  ['FRAME_RATE', 'x', 'must be a number'],
  ['FRAME_RATE', '0', 'must be 0.01 or more'],
  ['BATCH_SIZE', '1.5', 'must be a whole number'],
  ['BATCH_SIZE', '1e9', 'must be 10000 or less'],
  ['STORE', 'x', 'must be one of frames, archive, video, events'],
  ['S3_BUCKET', 'x', 'must have 3 characters or more'],
  ['AWS_ENDPOINT_URL', 'x', 'must be a valid URL'],
] as const)('of %s=%s it is said what it must be', (name, value, said) => {
  expect(() => readConfig([name], { [name]: value })).toThrow(`${name} ${said}`);
});
