import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { CommandHost, type Outcome } from '../support/command-host.ts';
import { DEPLOY_CIDR, graphOf, ofType } from './graphs.ts';
import { evaluate, type Graph, prepare } from './offline/evaluate.ts';
import { ROOT } from './offline/platform.ts';
import { POLICIES, policyOf } from './rights.ts';
import { createSandbox } from './stand-ins.ts';

let dir: string;
// To load their modules is most of what these commands take.
const host = new CommandHost();
beforeAll(async () => {
  dir = await createSandbox();
  await writeFile(join(dir, 'cameras.json'), '[]');
});
afterAll(async () => {
  await host.stop();
  await rm(dir, { recursive: true, force: true });
});

/** A process that a command has alone, which has the output of all that the command starts. */
const byItself = (script: string, args: string[], env: NodeJS.ProcessEnv) =>
  promisify(execFile)(process.execPath, [script, ...args], { env });

async function inHost(script: string, args: string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const outcome = await host.run(script, args, env);
  if (outcome.code !== 0) throw Object.assign(new Error(outcome.stderr), outcome);
  return outcome;
}

/** Runs a command of ours, and says what it called. @throws what it wrote, and its `code`, where it fails */
async function run(
  script: string,
  args: string[],
  more: NodeJS.ProcessEnv = {},
  start: (...of: Parameters<typeof inHost>) => Promise<{ stdout: string }> = inHost,
) {
  const calls = join(dir, 'calls');
  await writeFile(calls, '');
  await writeFile(`${calls}.regions`, '');
  const names = ['AWS_REGION', 'AWS_DEFAULT_REGION', 'MODEL_IMAGE', 'INGEST_IMAGE', 'RUNNER_ENVIRONMENT'];
  const unset = Object.fromEntries(names.map((name) => [name, undefined]));
  const PATH = `${join(dir, 'bin')}:${process.env.PATH}`;
  const given = { DEPLOY_CIDRS: '198.51.100.7/32', CAMERAS_FILE: join(dir, 'cameras.json') };
  const env = { ...process.env, ...unset, PATH, CALLS: calls, ...given, ...more };
  const { stdout } = await start(join(dir, 'infra', script), args, env);
  const lines = async (file: string) => (await readFile(file, 'utf8')).trim().split('\n');
  return { stdout, calls: await lines(calls), regions: await lines(`${calls}.regions`) };
}

describe.each(['us-east-1', 'cn-north-1'])('in a fresh clone, in %s, npm run deploy', (region) => {
  test('-- build creates the repositories, pushes both images, and stores their names', async () => {
    await rm(join(dir, '.sst'), { recursive: true, force: true });
    const { calls, regions } = await run('deploy.ts', ['build', '--stage', 'mine'], { AWS_REGION: region });
    const images = JSON.parse(await readFile(join(dir, '.sst/images-mine.json'), 'utf8'));
    // Of its own, or pushes for one stage would expire what another one runs.
    const domain = region === 'cn-north-1' ? 'amazonaws.com.cn' : 'amazonaws.com';
    const registry = `123456789012.dkr.ecr.${region}.${domain}/video-pipeline`;
    expect(images).toEqual({
      MODEL_IMAGE: `${registry}/model-mine@sha256:abc`,
      INGEST_IMAGE: `${registry}/ingest-mine@sha256:abc`,
    });
    const made = calls.filter((call) => /aws ecr (create-repository|put-lifecycle-policy)/.test(call));
    expect(made).toHaveLength(4);
    for (const call of made) expect(call).toContain(`--region ${region} `);
    expect(new Set(regions)).toEqual(new Set(['aws', 'docker'].map((name) => `${name} ${region} ${region}`)));
  });

  test('-- check, infra and k8s each run in that region', async () => {
    for (const command of ['check', 'infra', 'k8s']) {
      await rm(join(dir, '.sst'), { recursive: true, force: true });
      const { regions } = await run('deploy.ts', [command, '--stage', 'staging'], { AWS_REGION: region });
      for (const line of regions)
        expect(line, command).toMatch(new RegExp(`^(aws|npx) ${region} ${region}$`));
    }
  });
});

describe("the shell's variables decide what is deployed", () => {
  let graph: Graph;
  beforeAll(async () => {
    await prepare();
    const env = {
      AWS_REGION: 'us-gov-west-1',
      DEPLOY_CIDRS: DEPLOY_CIDR,
      CAMERAS_FILE: 'test/infra/cameras.yaml',
      MODEL_IMAGE: 'registry/model@sha256:1',
      INGEST_IMAGE: 'registry/ingest@sha256:1',
    };
    graph = await evaluate({ stage: 'production', env });
  });

  test('AWS_REGION gives the region and its partition in every resource and ARN', () => {
    const { app, ...rest } = graph;
    expect(app.providers.aws.region).toBe('us-gov-west-1');
    const text = JSON.stringify(rest);
    expect(text).toContain('us-gov-west-1');
    expect(text).not.toContain('us-east-1');
    expect(text).toContain('arn:aws-us-gov:');
    expect(text.match(/arn:aws:[\w:/.*-]*/g)).toBeNull();
    for (const file of globSync('infra/*.ts', { cwd: ROOT })) {
      const lines = readFileSync(join(ROOT, file), 'utf8').split('\n');
      expect(
        lines.filter((line) => /^(?! *(\/\/|\/?\*)).*arn:aws:/.test(line)),
        file,
      ).toEqual([]);
    }
  });

  test('with images that are already built, no image is built and no repository is removed', async () => {
    const repositories = (graph: Graph) =>
      ofType(graph, 'aws:ecr/repository:Repository').map(({ name }) => name);
    expect(repositories(graph)).toEqual(repositories(await graphOf('production')));
    expect(ofType(graph, 'docker-build:index:Image')).toEqual([]);
  });
});

describe('npm run deploy -- check', () => {
  const checked = (args: string[], env: NodeJS.ProcessEnv = {}) => run('deploy.ts', ['check', ...args], env);

  test('reports for each quota what the stage needs, what is in use, and the limit', async () => {
    const { stdout } = await checked(['--stage', 'production']);
    expect(stdout).toMatch(/EC2-VPC Elastic IPs +3 beside 1 in use, of 1000: fits/);
    expect(stdout).toMatch(
      /Concurrent executions +76 beside 72 in use and 100 that AWS keeps, of 1000: fits/,
    );
    expect(stdout).toMatch(/G and VT instances +36 beside 0 in use, of 1000: fits/);
    expect(stdout).not.toContain('request-service-quota-increase');
  });

  test('fails when a quota is too small, and prints the command that requests an increase', async () => {
    const failed = checked(['--stage', 'staging'], { QUOTA: '3', AWS_REGION: 'eu-west-1' });
    await expect(failed).rejects.toMatchObject({
      stdout: expect.stringContaining(
        'aws service-quotas request-service-quota-increase --region eu-west-1 --service-code ec2 --quota-code L-0263D0A3 --desired-value 5',
      ),
      stderr: expect.stringMatching(/^deploy: EC2-VPC Elastic IPs: 4 needed, 3 there.*\n$/),
    });
  });

  test("uses AWS's default quota when the account has no value of its own", async () => {
    const failed = checked(['--stage', 'staging'], { NO_VALUES: 'yes' });
    await expect(failed).rejects.toMatchObject({
      stderr: expect.stringMatching(/^deploy: .*All G and VT Spot Instance Requests: 12 needed, 0 there\n$/),
      stdout: expect.stringMatching(/EC2-VPC Elastic IPs +2 beside 2 in use, of 5: fits/),
    });
  });

  test('asks Lambda for its concurrency limit, which is below the default in a new account', async () => {
    const fresh = { CONCURRENCY: '10', RESERVED: '0' };
    await expect(checked(['--stage', 'mine'], fresh)).rejects.toMatchObject({
      // AWS takes no request below its default.
      stdout: expect.stringContaining('--service-code lambda --quota-code L-B99A9384 --desired-value 1000\n'),
      stderr: expect.stringContaining('Concurrent executions: 110 needed, 10 there'),
    });
  });

  test("reports that no GPU instance can start, as none is in the stage's zones", async () => {
    // The region has them in its fourth zone alone, which the stage does not use.
    await expect(checked(['--stage', 'staging'], { GPU_ZONES: 'us-east-1d' })).rejects.toMatchObject({
      stderr: expect.stringContaining('us-east-1a,us-east-1c have none of g6.xlarge,g5.xlarge'),
    });
    // The role for spot instances is EKS's to create: AmazonEKSComputePolicy allows it since May 2026 (v7).
    const { calls } = await checked(['--stage', 'staging']);
    expect(calls.filter((call) => call.startsWith('aws iam'))).toEqual([]);
  });

  test('reports that a region has too few zones, or no image for NAT instances', async () => {
    const small = { ZONES: 'usw1-az1=a usw1-az2=b usw1-az3=c', AWS_REGION: 'us-west-1' };
    await expect(checked(['--stage', 'production'], small)).rejects.toMatchObject({
      stderr: expect.stringContaining('us-west-1 has 2 zones that EKS accepts, not 3'),
    });
    await checked(['--stage', 'staging'], small);
    const young = { NO_NAT: 'none', AWS_REGION: 'ap-southeast-5' };
    await expect(checked(['--stage', 'mine'], young)).rejects.toMatchObject({
      stderr: expect.stringContaining('ap-southeast-5 has no image fck-nat-al2023-* for NAT instances'),
    });
    await checked(['--stage', 'staging'], young);
  });

  test('reports the log group that EKS made again while a stage of the same name was removed', async () => {
    const left = { LEFT_GROUP: '/aws/eks/video-pipeline-staging/cluster', AWS_REGION: 'eu-west-1' };
    await expect(checked(['--stage', 'staging'], left)).rejects.toMatchObject({
      stdout: expect.stringContaining(
        `aws logs delete-log-group --region eu-west-1 --log-group-name ${left.LEFT_GROUP}\n`,
      ),
      stderr: expect.stringContaining(`the log group ${left.LEFT_GROUP} is left over from a removed stage`),
    });
    const { calls } = await checked(['--stage', 'staging']);
    // Of this stage alone, and only groups that no deploy made.
    expect(calls).toContainEqual(
      expect.stringMatching(/prefix \/aws\/eks\/video-pipeline-staging\/ --query .*\[\?!retentionInDays\]/),
    );
    await checked(['--stage', 'mine'], left);
  });

  test('reports versions of Kafka and of EKS add-ons that AWS does not offer any more', async () => {
    const old = { KAFKA_VERSIONS: '"2.8.1"', INSIGHTS: 'v9.0.0-eksbuild.1' };
    await expect(checked(['--stage', 'staging'], old)).rejects.toMatchObject({
      stderr: expect.stringMatching(
        /MSK does not offer Kafka 3\.8\.x.*EKS has no amazon-cloudwatch-observability v6\.3\.0-eksbuild\.1 for Kubernetes 1\.\d+/,
      ),
    });
  });

  test.each(['Alice', 'a--b', 'john.doe', 'x'.repeat(17), '-', ''])(
    "and every other command reject the stage name '%s'",
    async (stage) => {
      await expect(run('deploy.ts', ['infra', '--stage', stage])).rejects.toMatchObject({
        stderr: expect.stringMatching(/^deploy: stage '.*': its name must be lower-case/),
      });
    },
  );

  test.each([
    ['DEPLOY_CIDRS', 'staging'],
    // A deploy would remove all cameras.
    ['CAMERAS_FILE', 'production'],
  ])('reports that the variable %s is not set', async (name, stage) => {
    await expect(checked(['--stage', stage], { [name]: '' })).rejects.toMatchObject({
      stderr: expect.stringContaining(`${name} is not set`),
    });
  });

  // docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html: the block cannot include reserved addresses.
  test('reports private addresses in DEPLOY_CIDRS, except for a stage without EKS', async () => {
    const DEPLOY_CIDRS = '198.51.100.7/32,10.1.2.3/32,100.64.0.0/10';
    await expect(checked(['--stage', 'staging'], { DEPLOY_CIDRS })).rejects.toMatchObject({
      stderr: expect.stringMatching(
        /DEPLOY_CIDRS has private addresses.* not 10\.1\.2\.3\/32,100\.64\.0\.0\/10/,
      ),
    });
    await checked(['--stage', 'mine'], { DEPLOY_CIDRS });
  });

  test('runs first in -- full, so that no image is built when a quota is too small', async () => {
    await expect(run('deploy.ts', ['full', '--stage', 'staging'], { QUOTA: '3' })).rejects.toMatchObject({
      code: 1,
    });
    expect(await readFile(join(dir, 'calls'), 'utf8')).not.toContain('docker');
  });
});

describe('npm run deploy', () => {
  const REGISTRY = '123456789012.dkr.ecr.us-east-1.amazonaws.com/video-pipeline';
  const modelOf = (stage: string) => `${REGISTRY}/model-${stage}@sha256:abc`;
  /** Who deploys is asked before SST begins. */
  const WHO = 'aws sts get-caller-identity --region us-east-1 --output json';

  test('-- full builds both images, deploys the stage with them, and prints the status', async () => {
    const { calls, stdout } = await run('deploy.ts', ['full', '--stage', 'staging'], {}, byItself);
    const builds = calls.filter((call) => call.startsWith('docker buildx'));
    expect(builds).toEqual([
      expect.stringMatching(/--platform linux\/amd64 --file model\/Dockerfile\.cuda /),
      expect.stringMatching(/--platform linux\/arm64 --file ingest-host\/Dockerfile /),
    ]);
    // SageMaker takes no OCI index, which attestations make of an image.
    for (const build of builds)
      expect(build).toMatch(/--provenance=false --output type=image,push=true,oci-mediatypes=false/);
    const deploy = calls.indexOf(`npx sst deploy --stage staging MODEL_IMAGE=${modelOf('staging')}`);
    expect(deploy).toBeGreaterThan(calls.indexOf(builds[1] ?? ''));
    // Koffi's install script would build for the deploying machine, and fails where there is no CMake.
    expect(await readFile(join(dir, '.sst/npm'), 'utf8')).toMatch(/^(scripts: true\n)+$/);
    // The image of the builder that Pulumi's provider boots within 30 s.
    expect(calls.slice(0, deploy)).toContain('docker pull --quiet moby/buildkit:buildx-stable-1');
    expect(calls.slice(deploy + 1)).toEqual([
      expect.stringContaining('aws eks update-kubeconfig --name video-pipeline-staging'),
      expect.stringContaining('kubectl get pods'),
      expect.stringContaining('aws lambda list-event-source-mappings'),
    ]);
    expect([stdout, ...calls].join('\n')).not.toContain('pass-of-the-registry');
  });

  test('-- full calls only the AWS actions that docs/iam allows', async () => {
    const { calls } = await run('deploy.ts', ['full', '--stage', 'staging']);
    const other: Record<string, string> = {
      'eks update-kubeconfig': 'eks:DescribeCluster',
    };
    const asked = calls.flatMap((call) => {
      const [program, service = '', operation = ''] = call.split(' ');
      const pascal = operation.replaceAll(/(?:^|-)(\w)/g, (_, first) => first.toUpperCase());
      const action = other[`${service} ${operation}`] ?? `${service.replace('-', '')}:${pascal}`;
      return program === 'aws' ? [action] : [];
    });
    const allowed = Object.values(POLICIES).flatMap((services) =>
      policyOf(services, []).Statement.flatMap((statement: { Action?: string[] }) => statement.Action ?? []),
    );
    expect(asked.length).toBeGreaterThan(15);
    expect(asked.filter((action) => !allowed.includes(action))).toEqual([]);
  });

  test('-- k8s deploys only the Kubernetes objects, with the image that was built last for that stage', async () => {
    await run('deploy.ts', ['build', '--stage', 'production']);
    // Without a GPU, so for no other stage.
    await run('deploy.ts', ['build', '--stage', 'mine']);
    const { calls } = await run('deploy.ts', ['k8s', '--stage', 'production']);
    expect(calls).toEqual([
      WHO,
      `npx sst deploy --stage production --target KubernetesDeployment MODEL_IMAGE=${modelOf('production')}`,
    ]);
    const { resources } = await graphOf('production');
    expect(resources.map(({ name }) => name)).toContain('KubernetesDeployment');
  });

  test('-- infra uses MODEL_IMAGE of the shell before the image that was built last', async () => {
    const { calls } = await run('deploy.ts', ['infra', '--stage', 'mine'], { MODEL_IMAGE: 'mine@sha256:1' });
    const image = 'MODEL_IMAGE=mine@sha256:1';
    expect(calls).toEqual([`${WHO} ${image}`, `npx sst deploy --stage mine ${image}`]);
  });

  test.each(['infra', 'k8s'])(
    '-- %s without credentials fails with one line, and does not start SST',
    async (command) => {
      await expect(run('deploy.ts', [command, '--stage', 'mine'], { NO_AWS: '1' })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining('deploy: aws sts get-caller-identity failed (exit 1)'),
      });
      expect(await readFile(join(dir, 'calls'), 'utf8')).not.toContain('npx sst');
    },
  );

  test('-- infra keeps an older image that -- k8s deployed again, until the next build', async () => {
    await run('deploy.ts', ['build', '--stage', 'production']);
    await run('deploy.ts', ['k8s', '--stage', 'production'], { MODEL_IMAGE: 'model@sha256:old' });
    const infra = async () => (await run('deploy.ts', ['infra', '--stage', 'production'])).calls;
    expect(await infra()).toEqual([WHO, 'npx sst deploy --stage production MODEL_IMAGE=model@sha256:old']);
    await run('deploy.ts', ['build', '--stage', 'production']);
    expect(await infra()).toEqual([
      WHO,
      `npx sst deploy --stage production MODEL_IMAGE=${modelOf('production')}`,
    ]);
  });

  test.each([
    ['full', 'MODEL_PATH'],
    ['infra', 'MODEL_DIR'],
  ])(
    '-- %s with %s set to a local path is rejected before any call: no image contains the files',
    async (command, name) => {
      const deployed = run('deploy.ts', [command, '--stage', 'mine'], { [name]: './yard' });
      await expect(deployed).rejects.toMatchObject({
        stderr: expect.stringMatching(new RegExp(`^deploy: ${name} names files of this machine`)),
      });
      expect(await readFile(join(dir, 'calls'), 'utf8')).toBe('');
    },
  );

  test('-- infra of a stage with a Kubernetes API is rejected on a runner without a fixed address', async () => {
    const github = { RUNNER_ENVIRONMENT: 'github-hosted' };
    await expect(run('deploy.ts', ['infra', '--stage', 'staging'], github)).rejects.toMatchObject({
      stderr: expect.stringMatching(/^deploy: stage 'staging' has a Kubernetes API.*DEPLOY_RUNNER.*\n$/),
    });
    expect((await run('deploy.ts', ['infra', '--stage', 'pr-7'], github)).calls).toHaveLength(2);
  });

  test('-- build writes the names of both images to GITHUB_OUTPUT for later jobs', async () => {
    const file = join(dir, 'output');
    await run('deploy.ts', ['build', '--stage', 'mine'], { GITHUB_OUTPUT: file });
    expect(await readFile(file, 'utf8')).toBe(
      `model=${modelOf('mine')}\ningest=${REGISTRY}/ingest-mine@sha256:abc\n`,
    );
  });

  test('-- build of a stage without a GPU does not build the CUDA image', async () => {
    const { calls } = await run('deploy.ts', ['build', '--stage', 'mine']);
    expect(calls.join('\n')).not.toContain('Dockerfile.cuda');
  });

  test("-- status does not change the context of the user's kubectl", async () => {
    const { calls } = await run('deploy.ts', ['status', '--stage', 'staging']);
    const kubeconfig = `--kubeconfig ${join(await realpath(dir), '.sst/kubeconfig-staging')}`;
    const [written, asked] = calls;
    expect(written).toMatch(/^aws eks update-kubeconfig /);
    expect(written).toContain(kubeconfig);
    expect(asked).toMatch(/^kubectl get pods/);
    expect(asked).toContain(kubeconfig);
  });

  test('-- status shows the mappings also where the cluster is not reachable, and then fails', async () => {
    const bin = join(dir, 'no-cluster');
    await mkdir(bin, { recursive: true });
    await writeFile(join(bin, 'kubectl'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const PATH = `${bin}:${join(dir, 'bin')}:${process.env.PATH}`;
    const status = run('deploy.ts', ['status', '--stage', 'staging'], { PATH });
    await expect(status).rejects.toMatchObject({
      code: 1,
      message: expect.stringContaining('deploy: kubectl get pods,svc,hpa,scaledobject failed (exit 1)'),
    });
    expect(await readFile(join(dir, 'calls'), 'utf8')).toContain('aws lambda list-event-source-mappings');
  });

  test('-- status of a stage without EKS calls no cluster', async () => {
    const { calls } = await run('deploy.ts', ['status', '--stage', 'mine']);
    expect(calls).toEqual([expect.stringContaining('aws lambda list-event-source-mappings')]);
  });

  test('-- status lists the folders of the bucket, and not its objects', async () => {
    await mkdir(join(dir, '.sst'), { recursive: true });
    await writeFile(join(dir, '.sst/outputs.json'), JSON.stringify({ stage: 'mine', bucket: 'store' }));
    const { calls } = await run('deploy.ts', ['status', '--stage', 'mine'], { S3_PREFIX: 'pictures' });
    expect(calls.at(-1)).toMatch(
      /^aws s3api list-objects-v2 --bucket store --prefix pictures\/ --delimiter \/ /,
    );
    expect(calls.join()).not.toContain('--recursive');
    await rm(join(dir, '.sst/outputs.json'));
  });

  test('-- build without credentials fails before any image is built', async () => {
    await expect(run('deploy.ts', ['build'], { NO_AWS: '1' })).rejects.toMatchObject({ code: 1 });
    expect(await readFile(join(dir, 'calls'), 'utf8')).not.toContain('docker');
  });
});

describe('npm run deploy -- canary', () => {
  const NEW = 'registry.example/model@sha256:new';
  const OLD = 'registry.example/model@sha256:old';
  const canary = async (env: NodeJS.ProcessEnv = {}, ...args: string[]) => {
    await mkdir(join(dir, '.sst'), { recursive: true });
    await writeFile(join(dir, '.sst/outputs.json'), JSON.stringify({ stage: 'staging', bucket: 'store' }));
    await writeFile(join(dir, '.sst/images-staging.json'), JSON.stringify({ MODEL_IMAGE: OLD }));
    const done = run('deploy.ts', ['canary', NEW, '--minutes', '0.001', '--stage', 'staging', ...args], env);
    const failed = await done.then(
      () => undefined,
      (error) => error as { stderr: string; code: number },
    );
    const calls = (await readFile(join(dir, 'calls'), 'utf8')).trim().split('\n');
    const { MODEL_IMAGE } = JSON.parse(await readFile(join(dir, '.sst/images-staging.json'), 'utf8'));
    const deploys = calls.filter((call) => call.startsWith('npx sst deploy'));
    return { failed, calls, deploys, kept: MODEL_IMAGE };
  };
  const DEPLOY = 'npx sst deploy --stage staging';

  test('runs the image on a share of the batches, and deploys it for all of them when no alarm went off', async () => {
    const { failed, calls, deploys, kept } = await canary({}, '--share', '0.2');
    expect(failed).toBeUndefined();
    // What stopped an earlier canary stops no other.
    expect(calls[0]).toMatch(/^aws s3 rm s3:\/\/store\/config\/canary-stopped\.json /);
    expect(deploys).toEqual([
      `${DEPLOY} MODEL_IMAGE=${OLD} MODEL_CANARY=${NEW} canary 0.2`,
      `${DEPLOY} MODEL_IMAGE=${NEW}`,
    ]);
    expect(kept).toBe(NEW);
    const asked = calls.find((call) => call.startsWith('aws cloudwatch')) ?? '';
    expect(asked).toContain('--namespace VideoPipeline/staging --metric-name VariantFrames');
  });

  test.each([
    ['an alarm stopped it', { STOPPED: '1' }, 'Alarm-CanaryErrors: 0.5 over 0.05'],
    ['the canary got no frame', { FRAMES: '0' }, 'it answered no frame'],
    ['its deploy failed', { NO_CANARY: '1' }, 'npx sst deploy failed'],
    ['its metrics could not be read', { NO_METRICS: '1' }, 'aws cloudwatch get-metric-statistics failed'],
  ])('removes the canary when %s, and fails with that reason', async (_, env, why) => {
    const { failed, deploys, kept } = await canary(env);
    expect(failed?.code).toBe(1);
    expect(failed?.stderr).toContain(`deploy: the canary was removed: ${why}`);
    expect(deploys.at(-1)).toBe(`${DEPLOY} MODEL_IMAGE=${OLD}`);
    expect(kept).toBe(OLD);
  });

  test('rejects an image that was built or deployed last, unless MODEL_IMAGE names the image in use', async () => {
    await canary();
    const again = (env: NodeJS.ProcessEnv) => run('deploy.ts', ['canary', NEW, '--stage', 'staging'], env);
    await expect(again({})).rejects.toMatchObject({
      stderr: `deploy: ${NEW} was built or deployed last: name the image in use by MODEL_IMAGE\n`,
    });
    expect(await readFile(join(dir, 'calls'), 'utf8')).toBe('');
    const { failed, deploys } = await canary({ MODEL_IMAGE: 'registry.example/model@sha256:older' });
    expect(failed).toBeUndefined();
    expect(deploys[0]).toContain('MODEL_IMAGE=registry.example/model@sha256:older MODEL_CANARY=');
  });

  test('--shadow removes the shadow at the end, whatever its results were', async () => {
    const { failed, deploys, kept } = await canary({}, '--shadow');
    expect(failed).toBeUndefined();
    expect(deploys).toEqual([
      `${DEPLOY} MODEL_IMAGE=${OLD} MODEL_CANARY=${NEW} shadow 0.1`,
      `${DEPLOY} MODEL_IMAGE=${OLD}`,
    ]);
    expect(kept).toBe(OLD);
  });

  test.each([
    [['--minutes', 'soon'], 'must be a number above 0'],
    [['--share', '2'], 'must be a number above 0, 1 at most'],
    [['--share', '1'], '--share 1 leaves no batch to compare with'],
    [['--stage', 'mine'], "stage 'mine' has no EKS"],
    // The outputs here are another stage's: its bucket is not where this stage's canary is stopped.
    [['--stage', 'production'], "stage 'production' has no outputs here"],
  ])('rejects %s before any change', async (args, why) => {
    const { failed, calls } = await canary({}, ...args);
    expect(failed?.stderr).toContain(why);
    expect(calls).toEqual(['']);
  });
});

describe('npm run k8s:render', () => {
  test('prints YAML of every Kubernetes object, with the image of --image', async () => {
    const { stdout } = await run('render.ts', ['--image', 'registry.example/model@sha256:1']);
    const objects = parseAllDocuments(stdout).map((document) => document.toJS());
    const kinds = objects.map(({ kind }) => kind);
    expect(kinds).toEqual(expect.arrayContaining(['Namespace', 'Deployment', 'Service', 'ScaledObject']));
    const deployment = objects.find(({ kind }) => kind === 'Deployment');
    expect(deployment.spec.template.spec.containers[0].image).toBe('registry.example/model@sha256:1');
  });

  test("--autoscaler hpa renders a HorizontalPodAutoscaler in place of KEDA's ScaledObject", async () => {
    const { stdout } = await run('render.ts', ['--image', 'x', '--autoscaler', 'hpa']);
    const kinds = parseAllDocuments(stdout).map((document) => document.toJS().kind);
    expect(kinds).toContain('HorizontalPodAutoscaler');
    expect(kinds).not.toContain('ScaledObject');
  });

  test('rejects a stage without EKS, and names it', async () => {
    await expect(run('render.ts', ['--image', 'x', '--stage', 'mine'])).rejects.toThrow(
      "stage 'mine' has no EKS",
    );
  });
});
