import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig, type VariableName, variables } from '@video-pipeline/config';
import { exitWithError } from '@video-pipeline/lifecycle';
import { STAGES } from '@video-pipeline/stages';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { startStack } from '../packages/local/src/stack.ts';
import { cleanEnvironment } from './support/clean-environment.ts';
import { OTHER_VALUES } from './support/other-values.ts';

/** What each process of `npm start` would have been given, by its name. */
const given = new Map<string, NodeJS.ProcessEnv>();
vi.mock('../packages/local/src/supervisor/child.ts', () => ({
  async startChild({ name, env }: { name: string; env?: NodeJS.ProcessEnv }) {
    given.set(name, { ...process.env, ...env });
    return { pid: 1, exited: new Promise(() => {}), stop() {}, kill() {}, lastError: () => '' };
  },
}));
vi.mock('../packages/local/src/prepare.ts', () => ({ buildModel() {} }));
vi.mock('../packages/local/src/external-servers.ts', () => ({
  findExternalServers: () => ({ kafka: 'kafka.example:9092', s3: 'http://s3.example:9000' }),
}));
vi.mock(import('../packages/local/src/backlog.ts'), async (original) => {
  const { Backlog } = await original();
  class Offline extends Backlog {
    override async createTopics(): Promise<void> {}
    override published = async () => 0;
  }
  return { Backlog: Offline };
});
const runIngest = vi.hoisted(() => vi.fn());
vi.mock('../ingest-host/src/run.ts', () => ({ runIngest }));

/** What `npm start` decides itself, and why. AWS has a table of its own: test/infra/settings.test.ts. */
const DECIDED: Partial<Record<VariableName, string>> = {
  INFERENCE_SERVICE_URL: 'where it has started the model, unless the variable names one that runs',
  INGEST_URL: 'where it has started ingest',
  HEALTH_PORT: 'any free port, by --ports auto',
  CONSOLE_PORT: 'any free port, by --ports auto',
  METRICS_PORT: 'the first of a port for each stage',
  PICTURES: 'tells which processes there are',
  MAX_FRAMES: 'the rest, after a crash; left out without --frames',
};
/** What `npm run producer` has an option for that it can not do without. */
const OF_PRODUCER: readonly string[] = ['STREAMS'];

let folder: string;
let produced: NodeJS.ProcessEnv;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'variables-'));
  await mkdir(join(folder, 'run'));
  vi.stubEnv('INIT_CWD', '/home/somebody');
  for (const [name, value] of Object.entries(OTHER_VALUES)) vi.stubEnv(name, String(value));
  // With its other value annotate is no process of its own.
  vi.stubEnv('PICTURES', 'twice');
  const options = { dataDir: folder, autoPorts: true, brokers: 1, ingest: true, console: true };
  const hooks = { note() {}, onLine() {}, onStart() {} };
  const stack = await startStack(options, hooks, new AbortController().signal);
  await Promise.all([
    stack.stagesUp,
    stack.startCompactor?.(),
    stack.startIngest?.(),
    stack.startConsole?.(),
  ]);
  vi.stubEnv('PICTURES', OTHER_VALUES.PICTURES);
  process.argv = ['node', 'producer.ts', '--rtsp-url', 'rtsp://camera.example/2'];
  runIngest.mockImplementation(() => {
    produced = { ...process.env };
  });
  await import('../ingest-host/src/producer.ts');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

test('OTHER_VALUES has a value for each variable', () => {
  expect(Object.keys(OTHER_VALUES).sort()).toEqual(Object.keys(variables).sort());
});

describe.each(Object.entries(OTHER_VALUES) as [VariableName, string | number][])(
  'variable %s',
  (name, other) => {
    const value = readConfig([name], { [name]: String(other) })[name];

    test('has a test value other than its default', () => {
      expect(value).not.toEqual(readConfig([name], {})[name]);
    });

    test.skipIf(name in DECIDED)(
      'has the same value in each process of npm start as in that process alone',
      () => {
        expect([...given.keys()].sort()).toEqual(
          [...STAGES.map((stage) => stage.name), 'compact', 'console', 'ingest', 'model'].sort(),
        );
        for (const [process, env] of given) expect(readConfig([name], env)[name], process).toEqual(value);
      },
    );

    test.skipIf(OF_PRODUCER.includes(name))('has the same value in npm run producer', () => {
      expect(readConfig([name], produced)[name]).toEqual(value);
    });
  },
);

test.each(['STREAMS_FILE', 'MODEL_PATH', 'MODEL_DIR', 'CONSOLE_TOKEN_FILE', 'CAMERAS_FILE'] as const)(
  "a relative %s is resolved in the user's folder, although npm changes the folder",
  (name) => {
    expect(readConfig([name], { [name]: 'own.yaml' })[name]).toBe('/home/somebody/own.yaml');
    expect(readConfig([name], { [name]: 's3://bucket/own.yaml' })[name]).toBe('s3://bucket/own.yaml');
  },
);

/** The variables that name a port which a server has without them. */
const PORTS = (Object.keys(variables) as VariableName[]).filter(
  (name) => name.endsWith('PORT') && readConfig([name], {})[name] !== undefined,
);

test.each(PORTS)(
  "a port of %s in use is an error with the variable's name, even if it is not set",
  (name) => {
    onTestFinished(() => void vi.restoreAllMocks());
    vi.stubEnv(name, undefined);
    vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
    const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const port = readConfig([name], {})[name];
    exitWithError(Object.assign(new Error('in use'), { code: 'EADDRINUSE', port, address: '127.0.0.1' }));
    expect(told.mock.calls.join()).toContain(`set ${name} to another, or `);
  },
);

test("tests get only the machine's variables for downloads, and bypass its proxy for 127.0.0.1", () => {
  const download = { https_proxy: 'http://proxy.example:3128', npm_config_registry: 'https://npm.example' };
  const env: NodeJS.ProcessEnv = { ...download, PATH: '/bin', CI: 'true', NO_PROXY: 'npm.example' };
  const left = [
    'KAFKA_AUTH',
    'S3_PREFIX',
    'AWS_PROFILE',
    'AWS_CA_BUNDLE',
    'OTEL_SDK_DISABLED',
    'NODE_OPTIONS',
  ];
  for (const name of [...left, ...Object.keys(variables), '_JAVA_OPTIONS', 'JAVA_TOOL_OPTIONS'])
    env[name] = '1';
  cleanEnvironment(env);
  const no_proxy = 'npm.example,127.0.0.1,localhost,::1';
  expect(env).toEqual({ ...download, PATH: '/bin', CI: 'true', no_proxy, NO_PROXY: no_proxy });
});

test('npm run producer runs beside an ingest host: without HEALTH_PORT, its health has a free port', async () => {
  vi.stubEnv('HEALTH_PORT', '');
  vi.resetModules();
  await import('../ingest-host/src/producer.ts');
  expect(produced.HEALTH_PORT).toBe('0');
});
