import type { AuthenticationProviderArgs, Logger } from 'kafkajs';
import { afterEach, expect, test, vi } from 'vitest';
import { iamToken, KafkaAuthError, oauthBearer } from './iam.ts';

afterEach(() => void vi.unstubAllEnvs());

const TOKEN = 'c2lnbmVk';
const sized = (text: string) => Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(text)]);

/** Authenticates with a broker that gives `answer`; `sent` takes what the broker was sent. */
async function authenticate(answer: () => Buffer, createToken = async () => TOKEN, sent: Buffer[] = []) {
  const saslAuthenticate: AuthenticationProviderArgs['saslAuthenticate'] = async ({ request, response }) => {
    sent.push(await request.encode());
    return response?.parse(await response.decode(answer()));
  };
  const { authenticationProvider } = oauthBearer(createToken);
  const broker = { host: 'b-1.example', port: 9098, logger: {} as Logger };
  await authenticationProvider({ ...broker, saslAuthenticate }).authenticate();
  return sent;
}

const FIRST_MESSAGE = sized(`n,,\x01auth=Bearer ${TOKEN}\x01\x01`);

test('the token is sent as in RFC 7628, and an empty response is a success', async () => {
  expect(await authenticate(() => sized(''))).toEqual([FIRST_MESSAGE]);
});

test('a response with content is a rejection; the error names broker and variable, and hides the token', async () => {
  const sent: Buffer[] = [];
  const refuse = () => sized('{"status":"invalid_token"}');
  const error = await authenticate(refuse, undefined, sent).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(KafkaAuthError);
  expect(error.message).toBe('KAFKA_AUTH=iam, broker b-1.example:9098: refused: {"status":"invalid_token"}');
  expect(error.retriable).toBe(false);
  expect(sent).toEqual([FIRST_MESSAGE, sized('\x01')]);
});

test('a token that can not be made is not retried, and a broken connection is', async () => {
  const failing = async () => {
    throw new Error('Could not load credentials from any providers');
  };
  await expect(authenticate(() => sized(''), failing)).rejects.toThrow(
    'KAFKA_AUTH=iam, broker b-1.example:9098: Could not load credentials from any providers',
  );
  const broken = Object.assign(new Error('Closed connection'), { retriable: true });
  const closed = () => {
    throw broken;
  };
  await expect(authenticate(closed)).rejects.toBe(broken);
});

test('a broker with too many connections is retried, because the token is not the cause', async () => {
  const throttled = () => {
    throw Object.assign(new Error('SASL_AUTHENTICATION_FAILED: [id]: Too many connects'), {
      retriable: false,
    });
  };
  const error = await authenticate(throttled).catch((thrown) => thrown);
  expect(error).toMatchObject({ name: 'KafkaThrottledError', retriable: true });
  expect(error.message).toContain('b-1.example:9098');
});

test("MSK's token is a signed URL of the region, without the secret", async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDEXAMPLE');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'not-to-be-seen');
  const text = Buffer.from(await iamToken('eu-west-3'), 'base64url').toString();
  const { hostname, searchParams } = new URL(text);
  expect(hostname).toBe('kafka.eu-west-3.amazonaws.com');
  expect(searchParams.get('Action')).toBe('kafka-cluster:Connect');
  expect(searchParams.get('X-Amz-Credential')).toMatch(
    /^AKIDEXAMPLE\/\d{8}\/eu-west-3\/kafka-cluster\/aws4_request$/,
  );
  expect(searchParams.get('X-Amz-Signature')).toMatch(/^[0-9a-f]{64}$/);
  expect(text).not.toContain('not-to-be-seen');
});
