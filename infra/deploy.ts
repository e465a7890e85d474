import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deployRegion } from '@video-pipeline/config';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { Command } from 'commander';
import { runCanary } from './canary-command.ts';
import { check } from './check.ts';
import { modelDockerfile, stageOf } from './stages.ts';

const ROOT = join(import.meta.dirname, '..');
/** File with the app's outputs, written by `sst deploy`. */
const OUTPUTS = join(ROOT, '.sst/outputs.json');
/** File with the images of the stage that were built or deployed last from here, for `infra` and `k8s`. */
const imagesFile = () => join(ROOT, `.sst/images-${stage()}.json`);
/** The region of all commands; the provider in sst.config.ts uses the same. */
const REGION = deployRegion();

type Images = Partial<Record<'MODEL_IMAGE' | 'INGEST_IMAGE', string>>;

const above0 = numberThat((value) => value > 0, 'a number above 0');
const share = numberThat((value) => value > 0 && value <= 1, 'a number above 0, 1 at most');
const program = new Command('npm run deploy --').description('Deploys the pipeline to AWS.');
const stage = () => stageOf(program.opts<{ stage: string }>().stage).name;

program
  .option(
    '--stage <name>',
    'stage: production, staging, or a name of your own',
    process.env.STAGE || process.env.USER || 'dev',
  )
  .addHelpText(
    'after',
    '\nVariables: AWS_REGION, DEPLOY_CIDRS, CAMERAS_FILE, ALARM_EMAIL, MODEL_IMAGE, INGEST_IMAGE.\n' +
      'A setting of the stage, such as FRAME_RATE, has priority over its row in infra/stages.ts. See docs/deploy.md.',
  );

program
  .command('full')
  .description('check, build the images, then deploy everything with them')
  .option('--skip-check', 'go on although a quota is too small')
  .action((options: { skipCheck?: boolean }) => {
    refuse();
    if (!options.skipCheck) checkStage();
    build();
    deployStage();
    showStatus();
  });
program
  .command('check')
  .description("ask AWS whether the account's quotas suffice for the stage, and print what to request")
  .action(checkStage);
program
  .command('infra')
  .description('deploy everything, with the images built last; SST builds those that were not')
  .action(() => deployStage());
program.command('build').description('build the images and push them to ECR').action(build);
program.command('k8s').description('deploy only the Kubernetes objects').action(deployKubernetes);
program
  .command('canary')
  .argument('<image>', 'image of the model server that is to be tried')
  .description(
    'try an image on a share of the batches; an alarm stops it, otherwise it replaces the model in use',
  )
  .option('--minutes <number>', 'how long it is watched', above0, 30)
  .option('--share <number>', 'share of the batches, 0..1', share, 0.1)
  .option('--shadow', 'only compare its answers, and remove it in any case')
  .action(deployCanary);
program
  .command('status')
  .description('print what runs: outputs, pods, mappings, the streams that have frames')
  .action(showStatus);

try {
  await program.parseAsync();
} catch (error) {
  fail(error);
}

function fail(error: unknown): void {
  process.stderr.write(`deploy: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}

async function deployCanary(
  image: string,
  { minutes, share, shadow = false }: { minutes: number; share: number; shadow?: boolean },
): Promise<void> {
  refuse();
  if (toDeploy().MODEL_IMAGE === image)
    throw new Error(`${image} was built or deployed last: name the image in use by MODEL_IMAGE`);
  const { bucket } = outputsOf();
  await runCanary(
    { stage: stageOf(stage()), image, minutes, share, shadow, bucket },
    {
      aws,
      deploy: deployStage,
      note: (line) => process.stderr.write(`${line}\n`),
      keep: (MODEL_IMAGE) => keepImages({ ...readJson<Images>(imagesFile()), MODEL_IMAGE }),
    },
  );
}

/** The environment of every command that is started here. */
function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    ...process.env,
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION,
    // For the images that SST builds: with attestations buildx writes an OCI index, which SageMaker refuses.
    BUILDX_NO_DEFAULT_ATTESTATIONS: '1',
    SST_TELEMETRY_DISABLED: '1',
    // SST installs packages for Lambda's platform, and koffi's install script would compile itself for this machine.
    npm_config_ignore_scripts: 'true',
    ...more,
  };
}

function start(command: string, args: string[], options: object, env: NodeJS.ProcessEnv = {}): string {
  try {
    return String(execFileSync(command, args, { cwd: ROOT, env: environment(env), ...options }) ?? '').trim();
  } catch (cause) {
    const { code, status, signal } = cause as { code?: string; status?: number; signal?: string };
    if (code === 'ENOENT') throw new Error(`no ${command} on the PATH; docs/deploy.md says what is needed`);
    const how = signal ? `was ended by ${signal}` : `failed (exit ${status})`;
    throw new Error(`${command} ${args.slice(0, 2).join(' ')} ${how}`, { cause });
  }
}

function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): void {
  process.stderr.write(`$ ${command} ${args.join(' ')}\n`);
  start(command, args, { stdio: 'inherit' }, env);
}

function read(command: string, args: string[], env: NodeJS.ProcessEnv = {}): string {
  return start(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }, env);
}

/** Asks the AWS command line. @returns its answer, JSON unless it copies an object */
function aws(...args: string[]): string {
  return read('aws', [...args, '--region', REGION, '--output', 'json']);
}

function readJson<Value>(file: string): Partial<Value> {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
}

/** The stage's outputs. The file has those of the stage that was deployed last from here. */
function outputsOf(): { stage?: string; bucket?: string; dashboard?: string } {
  const outputs = readJson<{ stage: string; bucket: string; dashboard: string }>(OUTPUTS);
  return outputs.stage === stage() ? outputs : {};
}

function checkStage(): void {
  check(stageOf(stage()), REGION, aws);
}

function build(): void {
  const [login] = JSON.parse(aws('ecr', 'get-authorization-token')).authorizationData;
  // Its domain depends on the partition.
  const REGISTRY = new URL(login.proxyEndpoint).host;
  const [user = '', input] = Buffer.from(login.authorizationToken, 'base64').toString().split(':');
  start('docker', ['login', '--username', user, '--password-stdin', REGISTRY], { input });
  // SST builds other images, and gives a new builder 30 s to start: fetching BuildKit can take longer.
  run('docker', ['pull', '--quiet', 'moby/buildkit:buildx-stable-1']);
  const image = (name: string, dockerfile: string, platform: string) =>
    read('bash', ['infra/build-image.sh', `${name}-${stage()}`, dockerfile, platform], { REGISTRY }).replace(
      /^image=/,
      '',
    );
  const images: Images = {
    MODEL_IMAGE: image('model', modelDockerfile(stageOf(stage())), 'linux/amd64'),
    INGEST_IMAGE: image('ingest', 'ingest-host/Dockerfile', 'linux/arm64'),
  };
  keepImages(images);
  // Output for later jobs of a GitHub workflow.
  const { GITHUB_OUTPUT } = process.env;
  if (GITHUB_OUTPUT)
    appendFileSync(GITHUB_OUTPUT, `model=${images.MODEL_IMAGE}\ningest=${images.INGEST_IMAGE}\n`);
  console.log(images);
}

function keepImages(images: Images): void {
  mkdirSync(dirname(imagesFile()), { recursive: true });
  writeFileSync(imagesFile(), JSON.stringify(images, null, 2));
}

function deployStage(variables: NodeJS.ProcessEnv = {}, options: string[] = []): void {
  refuse();
  // SST reports missing credentials in a long stack trace.
  aws('sts', 'get-caller-identity');
  const kept = toDeploy();
  const images = { ...kept, ...variables };
  for (const [name, image] of Object.entries(images)) process.stderr.write(`${name}=${image}\n`);
  run('npx', ['sst', 'deploy', '--stage', stage(), ...options], images);
  // Otherwise the next deploy would undo a return to an older image.
  keepImages(kept);
}

function deployKubernetes(): void {
  // The target is named by infra/kubernetes-apply.ts. Its dependencies are not changed.
  deployStage({}, ['--target', 'KubernetesDeployment']);
}

/** @throws Error where a deploy would fail, or leave out the model that its shell names */
function refuse(): void {
  const name = ['MODEL_PATH', 'MODEL_DIR'].find((name) => process.env[name]);
  if (name)
    throw new Error(
      `${name} names files of this machine: put them into the image (docs/deploy.md, 'Your own model'), and unset it`,
    );
  // GitHub's own runners have no fixed address, so DEPLOY_CIDRS can't allow them to reach the Kubernetes API.
  if (process.env.RUNNER_ENVIRONMENT !== 'github-hosted') return;
  if (stageOf(stage()).inference.backend !== 'eks') return;
  throw new Error(
    `stage '${stage()}' has a Kubernetes API, which this runner of GitHub's can't reach, as its address is not fixed: set the repository's variable DEPLOY_RUNNER (docs/github.md)`,
  );
}

/** Images to deploy. Those that the shell names have priority over those that were built last. */
function toDeploy(): Images {
  const { MODEL_IMAGE, INGEST_IMAGE } = process.env;
  const given = { ...(MODEL_IMAGE && { MODEL_IMAGE }), ...(INGEST_IMAGE && { INGEST_IMAGE }) };
  return { ...readJson<Images>(imagesFile()), ...given };
}

function showStatus(): void {
  const outputs = outputsOf();
  const none = `no outputs of stage '${stage()}' are here: docs/runbooks.md, 'Before you are on call'`;
  console.log(outputs.stage ? outputs : none);
  const name = `video-pipeline-${stage()}`;
  const { inference, settings } = stageOf(stage());
  if (inference.backend === 'eks') {
    const kinds = `pods,svc,hpa${inference.autoscaler === 'keda' ? ',scaledobject' : ''}`;
    // A file of its own: the current context of the user's kubectl stays.
    const kubeconfig = ['--kubeconfig', join(ROOT, `.sst/kubeconfig-${stage()}`)];
    try {
      run('aws', ['eks', 'update-kubeconfig', '--name', name, '--region', REGION, ...kubeconfig]);
      run('kubectl', ['get', kinds, '--namespace', 'video-pipeline', ...kubeconfig]);
    } catch (error) {
      // The cluster may not be reachable from here. The mappings still show which stage has stopped.
      fail(error);
    }
  }
  const list = (call: string, query: string) =>
    run('aws', [...call.split(' '), '--query', query, '--output', 'table', '--region', REGION]);
  list(
    'lambda list-event-source-mappings',
    `EventSourceMappings[?contains(FunctionArn, ':${name}-')].[FunctionArn,State,LastProcessingResult]`,
  );
  // Only the folders: listing millions of objects would take hours.
  if (outputs.bucket)
    list(
      `s3api list-objects-v2 --bucket ${outputs.bucket} --prefix ${settings.S3_PREFIX}/ --delimiter /`,
      'CommonPrefixes[].Prefix',
    );
}
