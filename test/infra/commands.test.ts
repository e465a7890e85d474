import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ROOT } from '../../infra/offline/platform.ts';
import { graphOf } from './graphs.ts';

/** AWS, Docker, SST and kubectl, out of reach here: each writes down how it was called, and answers as far as is needed. */
const STAND_IN = `#!/bin/sh
echo "$(basename "$0") $*\${MODEL_IMAGE:+ MODEL_IMAGE=$MODEL_IMAGE}" >> "$CALLS"
case "$(basename "$0") $*" in
  "aws sts"*) test -z "$NO_AWS" && echo 123456789012 ;;
  "aws ecr get-login-password"*) echo pass-of-the-registry ;;
  "docker buildx"*)
    while [ "$1" != --metadata-file ]; do shift; done
    echo '{"containerimage.digest":"sha256:abc"}' > "$2" ;;
esac
`;

let dir: string;

// The app in a folder of its own, as deploying keeps what it built beside it.
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'deploy-'));
  await cp(join(ROOT, 'infra'), join(dir, 'infra'), { recursive: true });
  for (const name of ['node_modules', 'packages', 'functions', 'package.json'])
    await symlink(join(ROOT, name), join(dir, name));
  await mkdir(join(dir, '.sst'));
  await mkdir(join(dir, 'bin'));
  for (const name of ['aws', 'docker', 'npx', 'kubectl']) {
    await writeFile(join(dir, 'bin', name), STAND_IN);
    await chmod(join(dir, 'bin', name), 0o755);
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Runs a command of ours, and says what it called. */
async function run(script: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  const calls = join(dir, 'calls');
  await writeFile(calls, '');
  const { AWS_REGION, MODEL_IMAGE, INGEST_IMAGE, ...rest } = process.env;
  const PATH = `${join(dir, 'bin')}:${rest.PATH}`;
  const { stdout } = await promisify(execFile)(process.execPath, [join(dir, 'infra', script), ...args], {
    env: { ...rest, PATH, CALLS: calls, ...env },
  });
  return { stdout, calls: (await readFile(calls, 'utf8')).trim().split('\n') };
}

describe('npm run deploy', () => {
  const REGISTRY = '123456789012.dkr.ecr.us-east-1.amazonaws.com/video-pipeline';
  const MODEL = `${REGISTRY}/model@sha256:abc`;

  test('-- full builds both images, deploys the stage with them, and shows what runs', async () => {
    const { calls, stdout } = await run('deploy.ts', ['full', '--stage', 'staging']);
    const builds = calls.filter((call) => call.startsWith('docker buildx'));
    expect(builds).toEqual([
      expect.stringMatching(/--platform linux\/amd64 --file model\/Dockerfile\.cuda .*--push/),
      expect.stringMatching(/--platform linux\/arm64 --file ingest-host\/Dockerfile .*--push/),
    ]);
    const deploy = calls.indexOf(`npx sst deploy --stage staging MODEL_IMAGE=${MODEL}`);
    expect(deploy).toBeGreaterThan(calls.indexOf(builds[1] ?? ''));
    expect(calls.slice(deploy + 1)).toEqual([
      expect.stringContaining('aws eks update-kubeconfig --name video-pipeline-staging'),
      expect.stringContaining('kubectl get pods'),
      expect.stringContaining('aws lambda list-event-source-mappings'),
    ]);
    expect([stdout, ...calls].join('\n')).not.toContain('pass-of-the-registry');
  });

  test('-- k8s deploys the Kubernetes objects alone, by a name that the app has, with the image built last', async () => {
    const { calls } = await run('deploy.ts', ['k8s', '--stage', 'production']);
    expect(calls).toEqual([
      `npx sst deploy --stage production --target KubernetesDeployment MODEL_IMAGE=${MODEL}`,
    ]);
    const { resources } = await graphOf('production');
    expect(resources.map(({ name }) => name)).toContain('KubernetesDeployment');
  });

  test('-- infra takes the image that the shell names before the one built last', async () => {
    const { calls } = await run('deploy.ts', ['infra', '--stage', 'mine'], { MODEL_IMAGE: 'mine@sha256:1' });
    expect(calls).toEqual(['npx sst deploy --stage mine MODEL_IMAGE=mine@sha256:1']);
  });

  test('-- status of a stage without EKS asks no cluster', async () => {
    const { calls } = await run('deploy.ts', ['status', '--stage', 'mine']);
    expect(calls).toEqual([expect.stringContaining('aws lambda list-event-source-mappings')]);
  });

  test('-- build ends with an error where AWS lets nobody in, before anything is built', async () => {
    await expect(run('deploy.ts', ['build'], { NO_AWS: '1' })).rejects.toMatchObject({ code: 1 });
    expect(await readFile(join(dir, 'calls'), 'utf8')).not.toContain('docker');
  });
});

describe('npm run k8s:render', () => {
  test('writes YAML of every object, with the image named', async () => {
    const { stdout } = await run('render.ts', ['--image', 'registry.example/model@sha256:1']);
    const objects = parseAllDocuments(stdout).map((document) => document.toJS());
    const kinds = objects.map(({ kind }) => kind);
    expect(kinds).toEqual(
      expect.arrayContaining(['Namespace', 'ConfigMap', 'Deployment', 'Service', 'ScaledObject']),
    );
    const deployment = objects.find(({ kind }) => kind === 'Deployment');
    expect(deployment.spec.template.spec.containers[0].image).toBe('registry.example/model@sha256:1');
  });

  test('scales by the processor where there is no KEDA', async () => {
    const { stdout } = await run('render.ts', ['--image', 'x', '--autoscaler', 'hpa']);
    const kinds = parseAllDocuments(stdout).map((document) => document.toJS().kind);
    expect(kinds).toContain('HorizontalPodAutoscaler');
    expect(kinds).not.toContain('ScaledObject');
  });

  test('says which stage has no EKS', async () => {
    await expect(run('render.ts', ['--image', 'x', '--stage', 'mine'])).rejects.toThrow(
      "stage 'mine' has no EKS",
    );
  });
});
