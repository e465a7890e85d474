import { type ChildProcess, type Control, fork } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Row } from '../../../infra/stages.ts';
import { inTurn } from '../../../packages/storage/src/in-parallel.ts';
import { makeOnce, takeLock } from './lock.ts';
import { ensurePlatform, PLATFORM, ROOT } from './platform.ts';
import { sourcesHash } from './sources.ts';

export interface Evaluation {
  /** Name of the stage, as for `--stage`. */
  stage: string;
  /** Whether to evaluate as `sst dev`, not as `sst deploy`. */
  dev?: boolean;
  /** A row that replaces the stage's row of infra/stages.ts. */
  row?: Row;
  /** Variables of the deploying shell. */
  env?: Record<string, string>;
  /** AWS's outputs for resources of a type. They replace the requested inputs. */
  answers?: Record<string, object>;
}

/** One resource (or component) that the app requests. */
export interface Resource {
  /** Pulumi's type token, such as `aws:lambda/function:Function`. */
  type: string;
  name: string;
  inputs: Record<string, any>;
  outputs?: Record<string, any>;
  /** Names of the inputs that the state has encrypted. */
  secrets: string[];
  /** True for a cloud resource; false for a component, which only groups resources. */
  custom: boolean;
  protect: boolean;
  retainOnDelete: boolean;
  /** Name of its component. */
  parent: string;
  /** Names of the resources that it depends on. */
  dependsOn: string[];
  /** Properties whose changes are ignored. */
  ignoreChanges: string[];
  /** Timeouts for creation and update; empty if not set. */
  timeouts: { create: string; update: string };
}

/** A Lambda function's code, bundled as SST bundles it. */
export interface Build {
  /** Absolute path of the bundle. */
  file: string;
  bytes: number;
  /** Packages to install beside it, with their versions; `*` is that of functions/package.json. */
  install: Record<string, string>;
  architecture: string;
}

/** All resources that one stage requests. */
export interface Graph {
  app: { name: string; removal: string; protect: boolean; providers: Record<string, any> };
  resources: Resource[];
  outputs: Record<string, unknown>;
  /** Bundles of the Lambda functions, by the function's logical name. */
  builds: Record<string, Build>;
}

/** The app could not be evaluated. */
export class EvaluationError extends Error {
  override readonly name = 'EvaluationError';
}

/** Timeout: an evaluation normally takes a few seconds. */
const LIMIT_MS = 200_000;

/** Globals that SST's modules need while they load, before the app is known. */
const GLOBALS = `
import { createRequire as topLevelCreateRequire } from 'module';
const require = topLevelCreateRequire(import.meta.url);
{
const { dev, root, work } = JSON.parse(process.env.OFFLINE_EVALUATION);
Object.assign(globalThis, {
  $app: {},
  $dev: dev,
  $cli: {
    command: dev ? 'dev' : 'deploy',
    rpc: '',
    paths: { home: work, root, work, platform: root + '/.sst/platform' },
    home: work,
    state: { version: {} },
  },
});
}`;

const BUNDLE = join(PLATFORM, 'offline.mjs');
/** File with the hash of the code in the bundle. */
const BUNDLED = `${BUNDLE}.hash`;

/**
 * Installs the platform and bundles the app for {@link evaluate}, unless that is done. One call is enough for any
 * number of evaluations.
 */
export async function prepare(note?: (line: string) => void): Promise<void> {
  await ensurePlatform(note);
  const hash = sourcesHash(ROOT);
  const isBundled = () => [BUNDLE, BUNDLED].every(existsSync) && readFileSync(BUNDLED, 'utf8') === hash;
  await makeOnce(ROOT, 'offline', isBundled, () => bundle(hash));
}

async function bundle(hash: string): Promise<void> {
  const esbuild = createRequire(join(PLATFORM, 'package.json'))('esbuild');
  // Renamed at the end: other processes may run the former bundle meanwhile.
  const outfile = join(PLATFORM, `offline-${process.pid}.mjs`);
  await esbuild.build({
    entryPoints: [join(import.meta.dirname, 'program.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'es2022',
    mainFields: ['module', 'main'],
    nodePaths: [join(PLATFORM, 'node_modules')],
    inject: [join(PLATFORM, 'src/shim/run.js')],
    // There must be one instance of Pulumi, or its mocks have no effect. @pulumi/tls has its own, and so is bundled.
    external: ['pulumi', 'aws', 'kubernetes', 'docker-build', 'random', 'cloudflare', 'command']
      .map((name) => `@pulumi/${name}`)
      .concat('@pulumiverse/*', '@aws-sdk/*', 'esbuild', 'archiver', 'glob', 'undici')
      // Half of the bundle, for a component that no stage has.
      .concat('vite'),
    logLevel: 'silent',
    banner: { js: GLOBALS },
  });
  writeFileSync(`${outfile}.hash`, hash);
  renameSync(outfile, BUNDLE);
  renameSync(`${outfile}.hash`, BUNDLED);
}

/** The process of {@link evaluate}. */
let evaluator: ChildProcess | undefined;
const next = inTurn();

/**
 * Evaluates sst.config.ts for one stage without AWS. It runs in a process of its own, because Pulumi and SST keep
 * global state. This process serves all evaluations of ours, one after another: loading the providers' SDKs takes
 * longer than an evaluation. Two evaluations of one stage, which would write the same files, run one after another.
 * @throws EvaluationError with the app's error
 */
export function evaluate(evaluation: Evaluation): Promise<Graph> {
  return next(() => evaluateNext(evaluation));
}

async function evaluateNext(evaluation: Evaluation): Promise<Graph> {
  const name = evaluation.dev ? `${evaluation.stage}-dev` : evaluation.stage;
  const release = await takeLock(ROOT, `evaluation-${name}`);
  return run(evaluation, join(ROOT, '.sst/offline', name)).finally(release);
}

async function run({ stage, dev = false, row, env = {}, answers }: Evaluation, work: string): Promise<Graph> {
  mkdirSync(work, { recursive: true });
  evaluator ??= startEvaluator();
  const child = evaluator;
  const { promise, resolve, reject } = Promise.withResolvers<Graph>();
  let output = '';
  const note = (text: Buffer) => {
    output += text;
  };
  const onClose = (code: number | null) =>
    reject(new EvaluationError(`stage '${stage}' can't be evaluated (exit ${code}): ${output}`));
  const streams = [child.stdout, child.stderr] as Socket[];
  for (const stream of streams) stream.on('data', note);
  child.once('message', resolve).once('close', onClose);
  const late = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  // While it has nothing to do, it keeps no process from ending.
  const parts = [child, child.channel as Control, ...streams];
  for (const part of parts) part.ref();
  child.send({ ...env, OFFLINE_EVALUATION: JSON.stringify({ stage, dev, row, answers, root: ROOT, work }) });
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    for (const stream of streams) stream.off('data', note);
    child.off('message', resolve).off('close', onClose);
    for (const part of parts) part.unref();
  }
}

function startEvaluator(): ChildProcess {
  const { PATH, HOME, NODE_COMPILE_CACHE } = process.env;
  const child = fork(join(import.meta.dirname, 'evaluator.ts'), [BUNDLE], {
    cwd: ROOT,
    silent: true,
    serialization: 'advanced',
    // Compiled code is cached: the providers' SDKs are megabytes of JavaScript. esbuild collects garbage less often.
    env: { PATH, HOME, NODE_COMPILE_CACHE, GOGC: '400' },
    // Most of what an evaluation makes is garbage soon.
    execArgv: ['--min-semi-space-size=32', '--max-semi-space-size=64'],
  });
  child.once('exit', () => {
    evaluator = undefined;
  });
  return child;
}
