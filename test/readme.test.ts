import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { type VariableName, variables } from '@video-pipeline/config';
import { expect, test } from 'vitest';
import measured from '../docs/measured/pipeline.json' with { type: 'json' };
import { documents } from './support/documents.ts';
import { expectGenerated } from './support/generated.ts';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const manifest = JSON.parse(read('package.json'));
const sources = globSync(['{packages,functions,ingest-host,model}/**/src/**/*.ts', 'infra/*.ts'], {
  cwd: root,
  exclude: (path) => path.includes('node_modules') || path.includes('.test.'),
});

/** Which process reads what the sources of a folder read; what is not here serves several. */
const READERS = {
  'ingest-host': 'Ingest host',
  'packages/stages': 'Stages',
  'packages/event-source': 'Stages',
  functions: 'Stages',
  'packages/inference-client': 'Stages',
  model: 'Model server',
  'packages/console': 'Console',
  infra: 'Deploying',
} as const;
const SHARED = 'Several processes';
// These read a variable for others: they start them, look at them, or hand it on.
const HAND_ON = [
  'packages/local',
  'packages/cli',
  'packages/recovery',
  'packages/lifecycle',
  'packages/config',
];

/** The process whose sources alone name a variable, or SHARED. */
function readerOf(name: string): string {
  const named = sources.filter((file) => new RegExp(`['.]${name}\\b`).test(read(file)));
  const packages = new Set(named.map((file) => /^packages\/[^/]+|^[^/]+/.exec(file)?.[0] ?? file));
  for (const folder of HAND_ON) packages.delete(folder);
  // Powertools' logger reads it in every process.
  if (name === 'LOG_LEVEL') return SHARED;
  // What infra sets, a process reads.
  if (packages.size > 1) packages.delete('infra');
  const readers = new Set(
    [...packages].map((folder) => (READERS as Record<string, string>)[folder] ?? SHARED),
  );
  return readers.size === 1 ? [...readers].join() : SHARED;
}

/** The tables of environment variables, by the process that reads them. */
function variableTables(): string {
  const byReader = Map.groupBy(Object.keys(variables) as VariableName[], readerOf);
  const order = [SHARED, ...new Set(Object.values(READERS))];
  expect([...byReader.keys()].filter((reader) => !order.includes(reader))).toEqual([]);
  return order.map((reader) => `## ${reader}\n\n${variableTable(byReader.get(reader) ?? [])}`).join('\n\n');
}

function variableTable(names: readonly VariableName[]): string {
  const rows = names.map((name) => {
    const value = variables[name].safeParse(undefined).data;
    const shown = value === undefined ? '' : `\`${value}\``;
    return `| \`${name}\` | ${variables[name].description?.replaceAll('|', '\\|')} | ${shown} |`;
  });
  return ['| variable | what for | default |', '| --- | --- | --- |', ...rows].join('\n');
}

test('docs/configuration.md lists each environment variable with its default', () => {
  expectGenerated('docs/configuration.md', 'variables', variableTables());
});

/** What `npm run bench -- --save` found. */
function measuredTable(): string {
  const { date, bound, fromKafka, fromFile } = measured;
  const share = (fps: number) => `${fps} | ${Math.round((100 * fps) / bound.fps)} %`;
  const { model, annotate, detect, kafka, s3 } = fromKafka.cpuMs;
  const total = Math.round(model + annotate + detect + kafka + s3);
  return [
    `| ${date} | frames/s | of the bound |`,
    '| --- | --- | --- |',
    `| bare onnxruntime, 2 threads | ${share(bound.fps)} |`,
    `| from frames waiting in Kafka to objects stored | ${share(fromKafka.fps)} |`,
    `| from a video file, through the ingest host, to objects stored | ${share(fromFile.fps)} |`,
    '',
    `Both cores are full. A frame from Kafka takes ${total} CPU ms: the model server ${model}, annotate ${annotate}, detect ${detect}, Kafka ${kafka},`,
    `the S3 server ${s3}. Bare onnxruntime takes ${bound.cpuMs} for the inference alone. Ingest takes ${fromFile.ingestCpuMs} more.`,
  ].join('\n');
}

test('docs/performance.md has the latest measurements', () => {
  expectGenerated('docs/performance.md', 'measured', measuredTable());
});

test.each(documents)('each npm script that %s calls exists', (file) => {
  const called = [...read(file).matchAll(/\bnpm run (?:-s )?([a-z][\w:-]*\w)/g)].map(
    ([, script]) => script ?? '',
  );
  expect(called.filter((script) => !(script in manifest.scripts))).toEqual([]);
});

/** The anchors that GitHub gives the headings of a document. */
function anchorsOf(text: string): string[] {
  const headings = text.matchAll(/^#+ (.+)$/gm);
  const plain = (heading: string) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
  return [...headings].map(([, heading = '']) => plain(heading));
}

test.each(documents)('each file and heading that %s links to exists', (file) => {
  const links = [...read(file).matchAll(/\]\(([^):\s]*)\)/g)].map(([, link]) => link ?? '');
  const isBroken = (link: string) => {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? file : join(dirname(file), path);
    if (!existsSync(join(root, target))) return true;
    return anchor !== undefined && !anchorsOf(read(target)).includes(anchor);
  };
  expect(links.filter(isBroken)).toEqual([]);
});

test('each document is linked from the README, and docs/README.md lists each file of docs/', () => {
  const index = read('docs/README.md');
  const missing = documents.filter(
    (file) => /^docs\/(?!README)/.test(file) && !index.includes(`(${relative('docs', file)})`),
  );
  expect(missing).toEqual([]);
  expect(read('README.md')).toContain('](docs/README.md)');
});

test('each file that docs/architecture.md draws exists', () => {
  const drawn =
    read('docs/architecture.md').match(/(?:ingest-host|packages|functions|model|infra|test)\/[\w./-]*\w/g) ??
    [];
  expect(drawn.length).toBeGreaterThan(30);
  expect(drawn.filter((file) => !existsSync(join(root, file)))).toEqual([]);
});

test('the README has at most 131 lines', () => {
  expect(read('README.md').split('\n').length).toBeLessThanOrEqual(131);
});

/** Messages in the tables of `you see` that AWS, Kubernetes, Karpenter and KEDA say. */
const OF_OTHERS = [
  'PROBLEM: Connection error. Please check your event source connection configuration',
  'PROBLEM: ... SASL authentication failed',
  'no instance type satisfied',
  'no instance type has enough resources',
  'unexpected EOF',
  'context deadline exceeded',
  'booting builder: context deadline exceeded',
  'failed to run npm install',
];

test("each message in the documents' troubleshooting tables is in the sources", () => {
  const tables = documents.flatMap((file) => [...read(file).matchAll(/^\| you see .*\n(?:\|.*\n)+/gm)]);
  expect(tables.length).toBeGreaterThan(1);
  const seen = tables.flatMap(([table]) => table.split('\n').map((row) => row.split('|')[1] ?? ''));
  const quoted = seen.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? ''));
  // A single word is a column of the table, or a folder. A command or a setting is the reader's own.
  const messages = quoted.filter((text) => text.includes(' ') && !/^(kill|sst|capacity:) /.test(text));
  expect(messages).toEqual(expect.arrayContaining(OF_OTHERS));
  const texts = sources.map(read);
  const isSaid = (message: string) => texts.some((text) => patternOf(message).test(text));
  expect(messages.filter((message) => !OF_OTHERS.includes(message) && !isSaid(message))).toEqual([]);
  expect(isSaid('no mvn on this machine')).toBe(false);
});

/** Numbers and names may be what a template gives. */
function patternOf(message: string): RegExp {
  const parts = message.split(/\d+|\b[A-Z]\w*/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(parts.join('.*'));
}

test('each test that SECURITY.md refers to exists', () => {
  const files = globSync(['{test,packages,functions,ingest-host,model}/**/*.test.ts'], {
    cwd: root,
    exclude: (path) => path.includes('node_modules'),
  });
  const proofs = read('SECURITY.md').match(/[\w./-]+\.test\.ts/g) ?? [];
  expect(proofs.length).toBeGreaterThan(10);
  expect(proofs.filter((proof) => !files.some((file) => `/${file}`.endsWith(`/${proof}`)))).toEqual([]);
});

/** Variables that a person does not set, by who does. */
const SET_BY_OTHERS = [
  ...[
    'AWS_LAMBDA_FUNCTION_NAME',
    'AWS_SECRET_ACCESS_KEY',
    'ECS_CONTAINER_METADATA_URI_V4',
    'GITHUB_OUTPUT',
    'RUNNER_ENVIRONMENT',
  ],
  ...['INIT_CWD', 'PATH', 'TMPDIR', 'TZ', 'USER', 'VIRTUAL_ENV', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME'],
  // What starts the process: another of ours, or a test.
  ...[
    'CALLS',
    'CAMERA_URL',
    'FAULTS_HANDLER',
    'FAULTS_URL',
    'LD_LIBRARY_PATH',
    'MALLOC_ARENA_MAX',
    'NODE_OPTIONS',
  ],
  ...['OFFLINE_EVALUATION', 'ORT_DISABLE_TELEMETRY', 'POWERTOOLS_METRICS_DISABLED', 'REGISTRY', 'SST_SERVER'],
];

test('docs/configuration.md names each variable that a person may set', () => {
  const readers = globSync(
    [
      '{packages,functions,ingest-host,model,infra,test}/**/*.ts',
      'infra/*.sh',
      'docker-compose.yaml',
      'vitest.config.ts',
    ],
    { cwd: root, exclude: (path) => path.includes('node_modules') || path.includes('.test.') },
  );
  const named = (file: string) =>
    file.endsWith('.ts') ? /\bprocess\.env\.([A-Z][A-Z_0-9]+)/g : /\$\{([A-Z][A-Z_0-9]+):[-+?]/g;
  const seen = readers.flatMap((file) => [...read(file).matchAll(named(file))].map(([, name = '']) => name));
  const text = read('docs/configuration.md');
  const missing = [...new Set(seen)].filter(
    (name) => !SET_BY_OTHERS.includes(name) && !text.includes(`\`${name}\``),
  );
  expect(seen.length).toBeGreaterThan(30);
  expect(missing).toEqual([]);
});

/** Names in capitals of all that is no document. The lists of this file prove nothing. */
const constants = new Set(
  globSync(
    [
      '{packages,functions,ingest-host,model,infra,test,examples,.github}/**/{*.ts,*.py,*.sh,*.yaml,Dockerfile*}',
      '{*.yaml,*.ts,.ci/run}',
    ],
    { cwd: root, exclude: (path) => path.includes('node_modules') || path.startsWith('test/documents') },
  )
    .filter((file) => file !== 'test/readme.test.ts')
    .flatMap((file) => read(file).match(/[A-Z][A-Z0-9]*_[A-Z0-9_]+/g) ?? []),
);

/** Names in capitals that are none of our variables: placeholders, and words of npm, SST, Kafka and node-av. */
const NOT_OURS = [
  'AWS_MSK_IAM',
  'CAMERA_PASSWORD',
  'NPM_CONFIG_',
  'NOT_COORDINATOR',
  'OFFSET_OUT_OF_RANGE',
  'SKIP_FFMPEG',
  'SST_KEY',
];

test.each(documents)('each variable, code and constant that %s names is in the code', (file) => {
  const named = read(file).match(/(?<![\w/-])[A-Z][A-Z0-9]*_[A-Z0-9_]+\b/g) ?? [];
  expect(named.filter((name) => !constants.has(name) && !NOT_OURS.includes(name))).toEqual([]);
});
