import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CANARY, NAMESPACE, SERVICE } from '../../infra/kubernetes-object.ts';
import { DEPLOYED, EVALUATIONS, graphOf, ofType } from './graphs.ts';
import { isApi, problemsOf } from './models.ts';
import { ROOT } from './offline/platform.ts';
import { createSandbox } from './stand-ins.ts';

/** Documents that tell what to do with a stage on AWS. */
const DOCUMENTS = ['deploy', 'github', 'rollouts', 'canary', 'capacity', 'runbooks'].map(
  (name) => `docs/${name}.md`,
);
/** What they tell of AWS: the others are of one machine, or are run by test/aws against stand-ins that answer. */
const OF_AWS =
  /^(aws |kubectl .* -|kubectl rollout|npx sst |gh |MODEL_IMAGE=|npm run (-s )?(deploy|k8s:render|capacity|costs)\b)/;
/** Named, not to be typed as it stands. */
const NAMES = ['npm run deploy -- canary'];
/** What a reader puts in the place of `<...>`. */
const VALUES: Record<string, string> = {
  name: 'staging',
  stage: 'staging',
  bucket: 'store',
  arn: 'arn:aws:kafka:us-east-1:123456789012:cluster/video-pipeline-staging/1',
  image: 'registry.example/model@sha256:1',
  reference: 'registry.example/model@sha256:1',
  brokers: 'b-1.example:9098',
  group: 'sg-1',
  registry: '123456789012.dkr.ecr.us-east-1.amazonaws.com',
  id: 'yard',
  owner: 'owner',
  repo: 'repo',
};

/** Commands of a document: its blocks of shell, and what stands in its text. */
function commandsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const blocks = [...text.matchAll(/^ *```bash\n(.*?)^ *```/gms)].map(([, block = '']) => block);
  const spans = [...text.replaceAll(/^ *```.*?^ *```/gms, '').matchAll(/`([^`]+)`/g)].map(([, span = '']) =>
    span.replaceAll(/\s+/g, ' '),
  );
  const ofOneMachine = (block: string) => /npm (start|run model)\b/.test(block);
  const typed = spans.filter((span) => OF_AWS.test(span) && !NAMES.includes(span));
  return [...blocks.filter((block) => !ofOneMachine(block)), ...typed];
}

let dir: string;
const logGroups: string[] = [];
beforeAll(async () => {
  dir = await createSandbox();
  await mkdir(join(dir, '.sst'));
  for (const deployed of DEPLOYED) {
    const groups = ofType(await graphOf(deployed), 'aws:cloudwatch/logGroup:LogGroup');
    const ours = new RegExp(`\\b${EVALUATIONS[deployed].stage}\\b`);
    logGroups.push(...groups.map(({ inputs }) => inputs.name.replace(ours, 'staging')));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Types a command as it stands. @returns what it called, word by word */
async function type(command: string): Promise<string[][]> {
  const filled = command.replaceAll(/<([a-z ]+)>/g, (whole, name) => VALUES[name] ?? whole);
  expect(filled).not.toMatch(/<[a-z ]+>/);
  const calls = join(dir, 'calls');
  await writeFile(`${calls}.words`, '');
  const [, stage = 'staging'] = /--stage (\w+)/.exec(filled) ?? [];
  await writeFile(join(dir, '.sst/outputs.json'), JSON.stringify({ stage, bucket: 'store' }));
  const { AWS_REGION, STAGE, MODEL_IMAGE, ...rest } = process.env;
  const env = {
    ...rest,
    PATH: `${join(dir, 'bin')}:${rest.PATH}`,
    CALLS: calls,
    DEPLOY_CIDRS: '198.51.100.7/32',
    STAGE: 'staging',
    // Nobody waits half an hour here.
    STOPPED: '1',
  };
  const run = promisify(execFile)('bash', ['-euo', 'pipefail', '-c', filled], { cwd: dir, env });
  const isStopped = / canary /.test(filled);
  if (isStopped) await expect(run).rejects.toMatchObject({ stderr: expect.stringContaining('was removed') });
  else await run;
  const words = await readFile(`${calls}.words`, 'utf8');
  return words
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split('\x1f').slice(0, -1));
}

/** Commands that AWS's command line adds to the APIs, with the options that we use. */
const ADDED: Record<string, string[]> = {
  'eks update-kubeconfig': ['name', 'kubeconfig'],
  'logs tail': ['since', 'follow', 'format', 'filter-pattern'],
  's3 cp': [],
  's3 ls': ['recursive'],
  's3 rm': ['recursive'],
};
const GLOBAL = ['query', 'output', 'region'];

/** What AWS would not know of a call of its command line. */
async function problemsOfAws([, service = '', operation = '', ...words]: string[]): Promise<string[]> {
  const given: Record<string, unknown> = {};
  words.forEach((word, at) => {
    const next = words[at + 1];
    if (word.startsWith('--'))
      given[word.slice(2)] = next === undefined || next.startsWith('--') ? true : next;
  });
  for (const name of GLOBAL) delete given[name];
  const added = ADDED[`${service} ${operation}`];
  if (added) {
    if (service === 'logs') expect(logGroups).toContain(words[0]);
    return Object.keys(given).filter((name) => !added.includes(name));
  }
  const api = service === 's3api' ? 's3' : service;
  if (!isApi(api)) return [`no service ${api}`];
  const parameters = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name.replaceAll('-', ''), structured(value)]),
  );
  const pascal = operation.replaceAll(/(?:^|-)(\w)/g, (_, first) => first.toUpperCase());
  return problemsOf(api, pascal, parameters);
}

/** The shorthand of AWS's command line: `Name=service,Value=detect`. */
function structured(value: unknown): unknown {
  const [, Name, Values] = /^Name=([^,]+),Values=(.+)$/.exec(String(value)) ?? [];
  if (Name) return [{ Name, Values: Values?.split(',') }];
  if (typeof value !== 'string' || !/^\w+=[^,]*(,\w+=[^,]*)*$/.test(value)) return value;
  return Object.fromEntries(value.split(',').map((pair) => pair.split('=')));
}

const SST = ['deploy', 'dev', 'diff', 'refresh', 'remove', 'shell', 'tunnel', 'unlock'];
const OBJECTS = [SERVICE, CANARY].flatMap((name) => [`deployment/${name}`, `svc/${name}`]);

async function problemsOfCall(call: string[]): Promise<string[]> {
  const [program, ...words] = call;
  if (program === 'aws') return problemsOfAws(call);
  if (program === 'npx') return words[0] === 'sst' && SST.includes(words[1] ?? '') ? [] : [words.join(' ')];
  if (program === 'kubectl') {
    const at = words.findIndex((word) => word === '-n' || word === '--namespace');
    const objects = words.filter((word) => /^(deployment|svc)\//.test(word) && !OBJECTS.includes(word));
    return words[0] === 'apply' || words[at + 1] === NAMESPACE
      ? objects
      : [`no namespace: ${words.join(' ')}`];
  }
  return [];
}

/** What several documents tell is typed once. */
const typed = new Set<string>();

describe.each(DOCUMENTS)('AWS commands in %s', (file) => {
  const commands = [...new Set(commandsOf(file))];
  const others = commands.filter((command) => !typed.has(command));
  for (const command of others) typed.add(command);

  test('are found in the document', () => expect(commands.length).toBeGreaterThan(0));

  test.each(others)(
    'call AWS with valid operations and parameters: %s',
    async (command) => {
      const calls = await type(command);
      const problems = await Promise.all(
        calls.map(async (call) => (await problemsOfCall(call)).map((one) => `${call.join(' ')}: ${one}`)),
      );
      expect(problems.flat()).toEqual([]);
    },
    120_000,
  );
});

test("the console's ECS service and cluster have the names that docs/runbooks.md uses", async () => {
  const graph = await graphOf('hosted');
  expect(ofType(graph, 'aws:ecs/service:Service').map(({ inputs }) => inputs.name)).toContain('Console');
  const clusters = ofType(graph, 'aws:ecs/cluster:Cluster').map(({ inputs }) => inputs.name);
  expect(clusters).toContainEqual(expect.stringContaining('video-pipeline-hosted-ConsoleCluster'));
});

test('an AWS command with an unknown operation or without a required parameter is reported', async () => {
  const found = (line: string) => problemsOfCall(line.split(' '));
  expect(await found('aws ecs update-service --force-new-deployment')).toEqual([
    expect.stringContaining('service is missing'),
  ]);
  expect(await found('aws ecs update-services --service a')).not.toEqual([]);
  expect(await found('aws iam create-policy --policy-name a --policy b')).not.toEqual([]);
  expect(await found('kubectl logs deployment/inference -n video-pipeline')).toEqual([
    'deployment/inference',
  ]);
});
