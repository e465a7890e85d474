import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ListBucketsCommand } from '@aws-sdk/client-s3';
import { readConfig, type VariableName, variables } from '@video-pipeline/config';
import { groupOf, STAGE_VARIABLES, STAGES, topicOf } from '@video-pipeline/stages';
import { type FauxqsServer, startFauxqs } from 'fauxqs';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { serverSettings } from '../../packages/local/src/servers/kafka.ts';
import { connectS3 } from '../../packages/local/src/servers/s3-client.ts';
import { NOT_HANDED_ON } from '../support/not-handed-on.ts';
import { unique } from '../support/unique.ts';

const ROOT = join(import.meta.dirname, '../..');

interface ComposeService {
  image: string;
  build?: { context: string; dockerfile: string };
  user?: string;
  profiles?: string[];
  command?: string[];
  /** Without a value, one is handed on where the shell sets it. */
  environment?: Record<string, string | number | null>;
  ports?: string[];
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
}

const compose = parse(readFileSync(join(ROOT, 'docker-compose.yaml'), 'utf8'), { merge: true });
const services = Object.entries(compose.services as Record<string, ComposeService>);
const ours = services.filter(([, { build }]) => build);
/** They end by themselves, and others wait for that. */
const oneShots = new Set(
  services.flatMap(([, { depends_on = {} }]) =>
    Object.entries(depends_on).flatMap(([name, { condition }]) =>
      condition === 'service_completed_successfully' ? [name] : [],
    ),
  ),
);
/** A service's variables as compose gives them when the shell sets none. */
const environmentOf = ({ environment = {} }: ComposeService): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      value === null ? [] : [[name, String(value).replaceAll(/\$\{\w+:-(.*?)\}/g, '$1')]],
    ),
  );
/** What the AWS SDK reads, beside our own table. */
const SDK_VARIABLES = ['AWS_SHARED_CREDENTIALS_FILE'];
/** Images that are not ours, which have a user of their own already. */
const NOT_ROOT = ['apache/kafka'];

describe('docker-compose.yaml', () => {
  it('has a service for each part of the pipeline', () => {
    expect(services.map(([name]) => name)).toEqual([
      'kafka',
      's3-volume',
      's3',
      'setup',
      'rtsp-server',
      'streamer',
      'inference-service',
      ...STAGES.map(({ name }) => name),
      'console',
      'ingest',
    ]);
    const producers = services.filter(([, { profiles }]) => profiles?.includes('with-producer'));
    expect(producers.map(([name]) => name)).toEqual(['ingest']);
  });

  it.each(STAGES)('runs $name as in the table of stages, with its own profile if it is optional', (stage) => {
    const { command = [], profiles } = compose.services[stage.name];
    const given = (option: string) => command[command.indexOf(option) + 1];
    const config = readConfig(STAGE_VARIABLES, environmentOf(compose.services[stage.name]));
    expect({ handler: given('--handler'), topic: given('--topic'), group: given('--group') }).toEqual({
      handler: stage.handler,
      topic: topicOf(stage, config),
      group: groupOf(stage, config),
    });
    expect(profiles).toEqual(stage.enabledBy && [`with-${stage.name}`]);
  });

  it.each(services)('%s has a pinned image, a health check and a user other than root', (name, service) => {
    expect(service.image).toMatch(service.build ? /:\$\{VERSION:-local\}$/ : /:\d+\.\d+\.\d+(-\w+)?$/);
    if (!oneShots.has(name)) expect(service.healthcheck?.test.length).toBeGreaterThan(1);
    if (service.build) {
      const dockerfile = readFileSync(join(ROOT, service.build.dockerfile), 'utf8');
      expect(dockerfile).toMatch(/^USER (?!root)\w+$/m);
    } else if (name !== 's3-volume' && !NOT_ROOT.some((image) => service.image.startsWith(image))) {
      expect(service.user).toBe('1000:1000');
    }
  });

  it.each(ours)('%s sets only variables that exist, to valid values', (_, service) => {
    const env = environmentOf(service);
    const names = Object.keys(env).filter((name) => !SDK_VARIABLES.includes(name));
    expect(names.filter((name) => !(name in variables))).toEqual([]);
    expect(() => readConfig(names as VariableName[], env)).not.toThrow();
  });

  it('keeps records of a topic as long as `npm start` does', () => {
    const { environment } = compose.services.kafka;
    const settings = serverSettings(9092, { id: 1, controllers: [9093] });
    expect(environment.KAFKA_LOG_RETENTION_HOURS).toBe(settings['log.retention.hours']);
    expect(environment.KAFKA_LOG_RETENTION_BYTES).toBe(settings['log.retention.bytes']);
    // Kafka deletes whole segments: with its default of 1 GiB it would keep up to 2 GiB.
    expect(environment.KAFKA_LOG_SEGMENT_BYTES).toBe(settings['log.segment.bytes']);
  });

  it('passes on each variable of the shell, except for those that it decides itself', () => {
    const values = (name: string) =>
      ours.flatMap(([, { environment = {} }]) => (name in environment ? [environment[name]] : []));
    for (const name of Object.keys(variables)) {
      if (name in NOT_HANDED_ON) expect(values(name), name).toEqual([]);
      else expect(values(name), name).not.toEqual([]);
    }
    for (const name of ['MAX_LATENCY_SECONDS', 'MIN_FRAME_RATE', 'FRAME_RATE', 'BATCH_SIZE', 'STORE']) {
      expect(new Set(values(name)), name).toEqual(new Set([null]));
      expect(compose.services.ingest.environment, name).toHaveProperty(name);
    }
    expect(compose.services['inference-service'].environment).toHaveProperty('INFERENCE_THREADS', null);
    expect(ours.filter(([, { environment = {} }]) => 'WEBHOOK_SECRET' in environment)).toHaveLength(1);
  });

  it.each(ours)('%s does not overwrite variables of its image', (_, { build, environment = {} }) => {
    const dockerfile = readFileSync(join(ROOT, build?.dockerfile ?? ''), 'utf8').replaceAll(/^#.*$/gm, '');
    const set = Object.keys(environment).filter((name) => new RegExp(`\\b${name}=`).test(dockerfile));
    expect(set.filter((name) => environment[name] === null)).toEqual([]);
  });

  it.each(ours)('%s runs a script that exists in the repository', (_, { build, command }) => {
    const dockerfile = readFileSync(join(ROOT, build?.dockerfile ?? ''), 'utf8');
    const words = command ?? dockerfile.match(/[\w./-]+\.ts/g) ?? [];
    const scripts = words.filter((word) => word.endsWith('.ts'));
    expect(scripts.length).toBeGreaterThan(0);
    expect(scripts.filter((script) => !existsSync(join(ROOT, script)))).toEqual([]);
  });

  it('refers to each server by the port on which it listens', () => {
    const listens = new Set([
      ...(String(compose.services.kafka.environment.KAFKA_ADVERTISED_LISTENERS).match(/kafka:\d+/g) ?? []),
      `s3:${new URL(compose.services.s3.environment.S3PROXY_ENDPOINT).port}`,
      `inference-service:${compose.services['inference-service'].environment.PORT}`,
      `ingest:${compose.services.ingest.environment.HEALTH_PORT}`,
      'rtsp-server:8554',
    ]);
    const names = services.map(([name]) => name).join('|');
    const texts = services.flatMap(([, { environment = {}, command = [] }]) => [
      ...Object.values(environment).map(String),
      ...command,
    ]);
    const reached = texts.flatMap((text) => text.match(new RegExp(`\\b(${names}):\\d+`, 'g')) ?? []);
    expect(new Set(reached)).toEqual(listens);
  });

  it('publishes each port once, on 127.0.0.1 only', () => {
    const ports = services.flatMap(([, { ports = [] }]) => ports);
    expect(ports.filter((port) => !/^127\.0\.0\.1:(\d+):\1$/.test(port))).toEqual([]);
    expect(new Set(ports).size).toBe(ports.length);
  });

  it('mounts only volumes that it declares', () => {
    const mounted = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0]));
    expect(new Set(mounted)).toEqual(new Set(Object.keys(compose.volumes)));
  });
});

describe('credentials of the S3 store in docker-compose.yaml', () => {
  const { s3, setup } = compose.services;
  const shell = (service: string) => compose.services[service].command.at(-1).replaceAll('$$', '$');

  it('are random, made once, and passed to S3Proxy', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'compose-s3-'));
    const run = async (service: string) => {
      const script = shell(service)
        .replaceAll('/run/s3', folder)
        .replace(/^chown .*$/m, '')
        .replace(/^exec .*$/m, 'printf "%s %s" "$S3PROXY_IDENTITY" "$S3PROXY_CREDENTIAL"');
      return (await promisify(execFile)('sh', ['-c', script])).stdout;
    };
    await run('s3-volume');
    const [first] = [await run('s3'), await run('s3-volume')];
    expect(first).toMatch(/^[A-Za-z0-9]{30,40} [A-Za-z0-9]{30,40}$/);
    expect(new Set(first.split(' ')).size).toBe(2);
    expect(await run('s3')).toBe(first);
    await rm(folder, { recursive: true });
  });

  it('are required by S3Proxy, and mounted in each service that uses the store', () => {
    expect(s3.environment.S3PROXY_AUTHORIZATION).toBe('aws-v4');
    const file = setup.environment.AWS_SHARED_CREDENTIALS_FILE;
    const users = ours.filter(
      ([name, { environment = {} }]) => name !== 'ingest' && 'AWS_ENDPOINT_URL' in environment,
    );
    expect(users.length).toBeGreaterThan(4);
    for (const [name, { environment, volumes }] of users) {
      expect(environment?.AWS_SHARED_CREDENTIALS_FILE, name).toBe(file);
      expect(volumes, name).toContain(`s3-credentials:${dirname(file)}:ro`);
    }
  });
});

describe('commands of the services in docker-compose.yaml', () => {
  let folder: string;
  let s3: FauxqsServer;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'compose-'));
    s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  });
  afterAll(async () => {
    await s3.stop();
    await rm(folder, { recursive: true });
  });

  const run = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    promisify(execFile)(process.execPath, args, { cwd: ROOT, env: { ...process.env, ...env } });

  it('setup creates topics, bucket and clips', async () => {
    const clips = join(folder, 'clips');
    const { command } = compose.services.setup;
    const environment = environmentOf(compose.services.setup);
    const id = unique('compose');
    const topics = {
      KAFKA_TOPIC: `${id}-frames`,
      KAFKA_DETECTIONS_TOPIC: `${id}-detections`,
      KAFKA_EVENTS_TOPIC: `${id}-events`,
    };
    const url = `http://127.0.0.1:${s3.port}`;
    const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
    const { stdout } = await run(
      command.map((word: string) => (word === '/clips' ? clips : word)),
      {
        ...environment,
        ...topics,
        KAFKA_BOOTSTRAP_SERVERS: inject('kafka'),
        AWS_ENDPOINT_URL: url,
        ...credentials,
      },
    );
    expect(stdout).toContain(`ready: ${Object.values(topics).join(' ')} `);
    const client = connectS3(url, credentials);
    const { Buckets = [] } = await client.send(new ListBucketsCommand());
    client.destroy();
    expect(Buckets.map(({ Name }) => Name)).toEqual([environment.S3_BUCKET]);
    const [, clip] = /:-([\w.]+)/.exec(compose.services.streamer.command.join(' ')) ?? [];
    expect(await readdir(clips)).toContain(clip);
  });

  it.each(STAGES)('$name accepts its options', async ({ name }) => {
    const [script, ...options] = compose.services[name].command;
    const { stdout } = await run([script, '--help']);
    for (const option of options.filter((word: string) => word.startsWith('--'))) {
      expect(stdout).toContain(option);
    }
  });

  it('the console requires its token', async () => {
    const { environment, command, volumes } = compose.services.console;
    // Nothing that everyone knows.
    expect(environment.CONSOLE_TOKEN).toMatch(/^\$\{CONSOLE_TOKEN:-\}$/);
    expect(volumes).toContain(`console-data:${dirname(environment.CONSOLE_TOKEN_FILE)}`);
    const CONSOLE_TOKEN_FILE = join(folder, 'console-token');
    const own = { CONSOLE_TOKEN: '', CONSOLE_TOKEN_FILE, CONSOLE_PORT: '0', HOST: '127.0.0.1' };
    const tokens: string[] = [];
    for (const _ of ['first', 'again']) {
      const server = fork(join(ROOT, command[0]), {
        env: { ...process.env, ...environmentOf(compose.services.console), ...own },
        silent: true,
      });
      let output = '';
      server.stdout?.on('data', (data) => (output += data));
      const [{ ready }] = await once(server, 'message');
      const ask = (headers: HeadersInit) => fetch(ready.url, { headers });
      expect((await ask({})).status).toBe(401);
      expect((await ask({ authorization: 'Bearer local' })).status).toBe(401);
      const [, token = ''] = /token, kept in \S+: (\S+)/.exec(output) ?? [];
      expect((await ask({ authorization: `Bearer ${token}` })).status).toBe(200);
      tokens.push(token);
      server.kill();
      expect(await once(server, 'exit')).toEqual([0, null]);
    }
    expect(tokens[0]).toMatch(/^[\w-]{32}$/);
    expect(tokens[1]).toBe(tokens[0]);
    expect(statSync(CONSOLE_TOKEN_FILE).mode & 0o777).toBe(0o600);
  });

  it('the model server has --help', async () => {
    expect((await run(['model/src/main.ts', '--help'])).stdout).toContain('--port');
  });

  it('ingest without STREAMS fails with the name of the variable', async () => {
    await expect(run(['ingest-host/src/main.ts'], { STREAMS: '' })).rejects.toThrow('STREAMS');
  });
});
