import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type FakeAnswer, startFakeServer } from '../../test/support/fake-server.ts';
import { startMqttBroker } from '../../test/support/mqtt-broker.ts';
import { A_MINUTE, mskEvent } from '../../test/support/msk-event.ts';
import { configWithSecrets } from './secrets.ts';
import { sign } from './webhook.ts';

let log = '';
for (const stream of [process.stdout, process.stderr])
  vi.spyOn(stream, 'write').mockImplementation((text) => {
    log += text;
    return true;
  });
const keyOf = (fill: number) => `whsec_${Buffer.alloc(32, fill).toString('base64')}`;
const arnOf = (name: string) =>
  `arn:aws:secretsmanager:us-east-1:123456789012:secret:video-pipeline/alice/${name}-AbCdEf`;
const DENIED = {
  status: 400,
  body: { __type: 'AccessDeniedException', Message: 'the role is not authorized' },
} satisfies FakeAnswer;

/** Values in Secrets Manager, by ARN and version; what is not there, may not be read. */
const kept = new Map<string, string>();
const manager = await startFakeServer(({ body }) => {
  const { SecretId, VersionId } = JSON.parse(String(body));
  const SecretString = kept.get(`${SecretId}:::${VersionId}`);
  return SecretString === undefined ? DENIED : { body: { SecretString } };
});
const bucket = await startFakeServer(() => ({}));
const webhook = await startFakeServer(() => ({ status: 204 }));
let broker: Awaited<ReturnType<typeof startMqttBroker>>;
const reads = () => manager.calls.map(({ body }) => JSON.parse(String(body)));
const asDeployed = (name: string, version: string) => vi.stubEnv(name, `${arnOf(name)}:::${version}`);

beforeEach(async () => {
  broker = await startMqttBroker();
  for (const { calls } of [manager, bucket, webhook]) calls.splice(0);
  for (const [name, value] of Object.entries({
    ...{ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_ENDPOINT_URL: bucket.url },
    ...{ AWS_ENDPOINT_URL_SECRETS_MANAGER: manager.url, AWS_LAMBDA_FUNCTION_NAME: 'notify' },
    MQTT_URL: broker.url,
  }))
    vi.stubEnv(name, value);
  for (const name of ['WEBHOOK_URL', 'WEBHOOK_SECRET', 'MQTT_USERNAME', 'MQTT_PASSWORD'])
    asDeployed(name, 'v1');
  for (const [name, value] of Object.entries({
    WEBHOOK_URL: `${webhook.url}/token-9`,
    WEBHOOK_SECRET: keyOf(7),
    MQTT_USERNAME: 'user-9',
    MQTT_PASSWORD: 'secret',
  }))
    kept.set(`${arnOf(name)}:::v1`, value);
});
afterEach(async () => {
  await broker.stop();
  for (const value of ['token-9', 'user-9', keyOf(7), keyOf(8)]) expect(log).not.toContain(value);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await Promise.all([manager.close(), bucket.close(), webhook.close()]);
});

const event = {
  ...{ event_id: '1'.padStart(32, '0'), type: 'entered_zone', rule: 'in', stream_id: 'yard' },
  ...{ at: 1_795_590_000_000, track_id: 'a', class_name: 'person', zone: 'lawn', frames: ['a/yard/a.jpg'] },
};
const batch = mskEvent('events', [[{ key: 'yard', value: Buffer.from(JSON.stringify(event)) }]]);

/** Notify as a new environment of its Lambda function loads it. */
async function coldStart(): Promise<typeof import('./notify.ts')['handler']> {
  vi.resetModules();
  return (await import('./notify.ts')).handler;
}
/** Whether the last post was signed with that key. */
function isSignedWith(key: string): boolean {
  const { headers, body } = webhook.calls.at(-1) as (typeof webhook.calls)[0];
  const time = String(headers['webhook-timestamp']);
  return headers['webhook-signature'] === sign(key, event.event_id, time, String(body));
}

test('a function reads each secret once, at its first batch, in the version of its deploy, and never logs it', async () => {
  const notify = await coldStart();
  expect(reads()).toEqual([]);
  await Promise.all([notify(batch, A_MINUTE), notify(batch, A_MINUTE)]);
  await notify(batch, A_MINUTE);
  const names = ['MQTT_PASSWORD', 'MQTT_USERNAME', 'WEBHOOK_SECRET', 'WEBHOOK_URL'];
  const asked = reads().sort((a, b) => (a.SecretId < b.SecretId ? -1 : 1));
  expect(asked).toEqual(names.map((name) => ({ SecretId: arnOf(name), VersionId: 'v1' })));
  expect(webhook.calls.map(({ path }) => path)).toEqual(Array(3).fill('/token-9'));
  expect(isSignedWith(keyOf(7))).toBe(true);
  expect(broker.users).toEqual(['user-9']);
  expect(broker.got.filter(([topic]) => topic === 'video-pipeline/events')).toHaveLength(3);
  expect(log).toContain('connected to the MQTT broker');
});

test('a deploy with another secret value makes a new version, which its function reads', async () => {
  kept.set(`${arnOf('WEBHOOK_SECRET')}:::v2`, keyOf(8));
  await (await coldStart())(batch, A_MINUTE);
  expect(isSignedWith(keyOf(7))).toBe(true);
  asDeployed('WEBHOOK_SECRET', 'v2');
  await (await coldStart())(batch, A_MINUTE);
  expect(isSignedWith(keyOf(8))).toBe(true);
});

test.each(['WEBHOOK_SECRET', 'MQTT_PASSWORD'])(
  'while %s can not be read the batch fails with an error that names it, and nothing is sent',
  async (name) => {
    const secret = `${arnOf(name)}:::v1`;
    const value = kept.get(secret) ?? '';
    kept.delete(secret);
    const notify = await coldStart();
    for (const _ of [1, 2])
      await expect(notify(batch, A_MINUTE)).rejects.toThrow(
        `${name} can't be read from the secret ${secret}: AccessDeniedException: the role is not authorized`,
      );
    expect([webhook.calls, bucket.calls, broker.users]).toEqual([[], [], []]);
    // Delivered again, once the role may read it.
    kept.set(secret, value);
    await notify(batch, A_MINUTE);
    expect(webhook.calls).toHaveLength(1);
    expect(bucket.calls).toEqual([]);
  },
);

test.each([
  ['no text', '', /^WEBHOOK_SECRET can't be read from the secret arn:.*: Error: it holds no text$/],
  ['a value of another format', 'token-9', /^WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64$/],
])('a secret with %s is an error, not an event without a signature', async (_, value, error) => {
  kept.set(`${arnOf('WEBHOOK_SECRET')}:::v1`, value);
  await expect((await coldStart())(batch, A_MINUTE)).rejects.toThrow(error);
  expect(webhook.calls).toEqual([]);
});

test("on one machine the variable has the secret's value, which is checked when the stage starts", async () => {
  vi.stubEnv('WEBHOOK_SECRET', 'token-9');
  expect(() => configWithSecrets(['WEBHOOK_SECRET'])).toThrow(/^WEBHOOK_SECRET must be/);
  vi.stubEnv('WEBHOOK_SECRET', keyOf(3));
  vi.stubEnv('WEBHOOK_URL', undefined);
  const config = await configWithSecrets(['WEBHOOK_SECRET', 'WEBHOOK_URL', 'WEBHOOK_ATTEMPTS'])();
  expect(config).toEqual({ WEBHOOK_SECRET: keyOf(3), WEBHOOK_URL: undefined, WEBHOOK_ATTEMPTS: 5 });
  expect(reads()).toEqual([]);
});
