import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { stageOf } from './stages.ts';

const ROOT = join(import.meta.dirname, '..');
/** Where `sst deploy` writes what the app returned. */
const OUTPUTS = join(ROOT, '.sst/outputs.json');
/** Which images `build` pushed last, for `infra` and `k8s`. */
const IMAGES = join(ROOT, '.sst/images.json');

type Images = Partial<Record<'MODEL_IMAGE' | 'INGEST_IMAGE', string>>;

const program = new Command('deploy').description('Deploys the pipeline to AWS.');
const stage = () => program.opts<{ stage: string }>().stage;

program
  .option(
    '--stage <name>',
    'stage: production, staging, or a name of your own',
    process.env.STAGE ?? process.env.USER ?? 'dev',
  )
  .addHelpText(
    'after',
    '\nVariables: DEPLOY_CIDRS, CAMERAS_FILE, ALARM_EMAIL, MODEL_IMAGE, INGEST_IMAGE (see docs/deploy.md)',
  );

program
  .command('full')
  .description('build the images, then deploy everything with them')
  .action(() => {
    build();
    deployAll();
    showStatus();
  });
program
  .command('infra')
  .description('deploy everything; SST builds the images that no variable names')
  .action(deployAll);
program.command('build').description('build the images and push them to ECR').action(build);
program.command('k8s').description('deploy the Kubernetes objects alone').action(deployKubernetes);
program
  .command('status')
  .description('what runs: stacks, pods, mappings, the newest objects')
  .action(showStatus);
await program.parseAsync();

function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): void {
  process.stderr.write(`$ ${command} ${args.join(' ')}\n`);
  execFileSync(command, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
}

function read(command: string, args: string[], env: NodeJS.ProcessEnv = {}): string {
  return execFileSync(command, args, { cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...env } }).trim();
}

function readJson<Value>(file: string): Partial<Value> {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
}

function build(): void {
  const account = read('aws', ['sts', 'get-caller-identity', '--query', 'Account', '--output', 'text']);
  const REGISTRY = `${account}.dkr.ecr.${region()}.amazonaws.com`;
  const password = read('aws', ['ecr', 'get-login-password', '--region', region()]);
  execFileSync('docker', ['login', '--username', 'AWS', '--password-stdin', REGISTRY], { input: password });
  const { backend } = stageOf(stage()).inference;
  const model = backend === 'sagemaker-serverless' ? 'model/Dockerfile' : 'model/Dockerfile.cuda';
  const image = (name: string, dockerfile: string, platform: string) =>
    read('bash', ['infra/build-image.sh', name, dockerfile, platform], { REGISTRY }).replace(/^image=/, '');
  const images: Images = {
    MODEL_IMAGE: image('model', model, 'linux/amd64'),
    INGEST_IMAGE: image('ingest', 'ingest-host/Dockerfile', 'linux/arm64'),
  };
  writeFileSync(IMAGES, JSON.stringify(images, null, 2));
  console.log(images);
}

function deployAll(): void {
  run('npx', ['sst', 'deploy', '--stage', stage()], { ...readJson<Images>(IMAGES), ...given() });
}

function deployKubernetes(): void {
  // Targets by the names that infra/eks.ts gives them; what they depend on is left as it is.
  run('npx', ['sst', 'deploy', '--stage', stage(), '--target', 'KubernetesDeployment'], {
    ...readJson<Images>(IMAGES),
    ...given(),
  });
}

/** What the shell names goes before what was built last. */
function given(): Images {
  const { MODEL_IMAGE, INGEST_IMAGE } = process.env;
  return { ...(MODEL_IMAGE && { MODEL_IMAGE }), ...(INGEST_IMAGE && { INGEST_IMAGE }) };
}

function showStatus(): void {
  const outputs = readJson<{ bucket: string; dashboard: string }>(OUTPUTS);
  console.log(outputs);
  const name = `video-pipeline-${stage()}`;
  if (stageOf(stage()).inference.backend === 'eks') {
    run('aws', ['eks', 'update-kubeconfig', '--name', name, '--region', region()]);
    run('kubectl', ['get', 'pods,svc,hpa,scaledobject', '--namespace', 'video-pipeline']);
  }
  const query = `EventSourceMappings[?contains(FunctionArn, '${name}')].[FunctionArn,State,LastProcessingResult]`;
  run('aws', ['lambda', 'list-event-source-mappings', '--query', query, '--output', 'table']);
  if (outputs.bucket)
    run('bash', ['-c', `aws s3 ls "s3://${outputs.bucket}/annotated/" --recursive | tail -5`]);
}

function region(): string {
  return process.env.AWS_REGION ?? 'us-east-1';
}
