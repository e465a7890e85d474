import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectKafka } from '@video-pipeline/kafka';
import { freePort, type KafkaServer, startKafka } from '@video-pipeline/local';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { oauthBearer } from '../../packages/kafka/src/iam.ts';
import { type Certificate, makeCertificate } from '../support/certificate.ts';
import { startIngestProcess } from '../support/ingest-process.ts';

const CLIENT = join(import.meta.dirname, '../support/kafka-client.ts');
const SECRET = 'not-to-be-seen';
let folder: string;
let certificate: Certificate;
let server: KafkaServer;
let tls: string;
let sasl: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kafka-tls-'));
  certificate = await makeCertificate(folder);
  const ports = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const [plain, controller, ...secure] = ports.map((port) => `127.0.0.1:${port}`);
  [tls = '', sasl = ''] = secure;
  server = await startKafka({
    dataDir: folder,
    port: ports[0],
    settings: {
      'controller.quorum.voters': `1@${controller}`,
      listeners: `PLAINTEXT://${plain},CONTROLLER://${controller},SSL://${tls},SASL_SSL://${sasl}`,
      'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL',
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': certificate.serverFile,
      // Kafka's own validator, which takes tokens that nobody signed: not those of AWS, which are of another form.
      'sasl.enabled.mechanisms': 'OAUTHBEARER',
      'listener.name.sasl_ssl.oauthbearer.sasl.jaas.config':
        'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
    },
  });
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Runs a client of `broker`; @returns its exit code and all that it wrote. */
async function client(broker: string, KAFKA_AUTH: string, env: Record<string, string> = {}) {
  const child = startIngestProcess({ KAFKA_BOOTSTRAP_SERVERS: broker, KAFKA_AUTH, ...env }, CLIENT, [
    KAFKA_AUTH,
  ]);
  return { code: await child.exited, output: child.output() };
}

const trusting = () => ({ NODE_EXTRA_CA_CERTS: certificate.pem });
const credentials = {
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: SECRET,
  AWS_REGION: 'eu-west-3',
};

test('tls: a client whose NODE_EXTRA_CA_CERTS names the CA writes and reads', async () => {
  const { code, output } = await client(tls, 'tls', trusting());
  expect(output).toContain('read yard: hello');
  expect(code).toBe(0);
});

test.each(['tls', 'iam'])(
  '%s: a broker with an untrusted certificate is rejected, and the error names the broker',
  async (auth) => {
    const { code, output } = await client(auth === 'tls' ? tls : sasl, auth, credentials);
    expect(code).toBe(1);
    expect(output).toMatch(/failed: Connection error: .*self-signed certificate/);
    expect(output).toContain(`"broker":"${auth === 'tls' ? tls : sasl}"`);
  },
);

test("iam: a token that the broker rejects is an error with the broker's reason, without token or secret", async () => {
  const { code, output } = await client(sasl, 'iam', { ...trusting(), ...credentials });
  expect(output).toContain(`failed: KAFKA_AUTH=iam, broker ${sasl}: refused: {"status":"invalid_token"}`);
  expect(code).toBe(1);
  expect(output).not.toContain(SECRET);
  // How `https://kafka.` begins in a token.
  expect(output).not.toContain(Buffer.from('https://kafka.').toString('base64url').slice(0, -1));
});

async function adminWith(token: string) {
  const settings = { KAFKA_BOOTSTRAP_SERVERS: sasl, KAFKA_AUTH: 'iam', AWS_REGION: '' } as const;
  const kafka = connectKafka('test', { warn() {}, error() {} }, settings, {
    ssl: { ca: await readFile(certificate.pem) },
    sasl: oauthBearer(async () => token),
  });
  return kafka.admin();
}

test('iam: a client whose token is rejected gets the reason at each attempt', async () => {
  const admin = await adminWith('nonsense');
  for (const _attempt of [1, 2]) await expect(admin.connect()).rejects.toThrow(/: refused: .*invalid_token/);
  await admin.disconnect();
});

test('iam: a client with a token that the broker accepts can send requests', async () => {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const now = Date.now() / 1000;
  const claims = { sub: 'test', iat: now - 1, exp: now + 60 };
  const admin = await adminWith(`${encode({ alg: 'none' })}.${encode(claims)}.`);
  await admin.connect();
  expect((await admin.describeCluster()).brokers).toHaveLength(1);
  await admin.disconnect();
});
