import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { readConfig } from '@video-pipeline/config';
import type { State } from '@video-pipeline/local';
import {
  DIRECTORY,
  fallbackCredentials,
  localCredentials,
  ROOT,
  StartError,
  s3Environment,
  stateFile,
  supervisorOf,
} from '@video-pipeline/local/lightweight';
import { Command, Option } from 'commander';

/** The target of a command: the stack of a folder, or a stage on AWS. */
export interface Target {
  dataDir: string;
  stage?: string;
  json?: boolean;
}

/** A command that works on a stack, and can print its result as JSON. */
export function stackCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object');
}

export function dataDirOption(): Option {
  return new Option('--data-dir <folder>', 'the folder of the stack')
    .default(join(ROOT, '.data'))
    .argParser((folder) => resolve(DIRECTORY, folder));
}

/** State of the stack on `dataDir`; `undefined` when none runs, or when it is still starting. */
export async function runningState(dataDir: string): Promise<State | undefined> {
  const pid = await supervisorOf(join(dataDir, 'run'));
  if (!pid) return undefined;
  const text = await readFile(stateFile(dataDir), 'utf8').catch(() => undefined);
  const state = text === undefined ? undefined : (JSON.parse(text) as State);
  return state?.pid === pid ? state : undefined;
}

/** @throws StartError */
export async function requireState(dataDir: string): Promise<State> {
  const state = await runningState(dataDir);
  if (state) return state;
  throw new StartError(`nothing runs on ${dataDir}: start it with 'npm run local -- up', or 'npm start'`);
}

const SERVERS = {
  kafka: 'KAFKA_BOOTSTRAP_SERVERS',
  s3: 'AWS_ENDPOINT_URL',
  inference: 'INFERENCE_SERVICE_URL',
} as const;

/**
 * Address of a server: from its variable, otherwise from the stack that runs on the target's folder.
 * @throws StartError, ConfigError
 */
export async function serverOf(which: keyof typeof SERVERS, { dataDir, stage }: Target): Promise<string> {
  const variable = SERVERS[which];
  const given = process.env[variable] ? readConfig([variable])[variable] : undefined;
  if (given) return given;
  if (stage) throw new StartError(`stage '${stage}' has nothing that ${variable} could name`);
  return (await requireState(dataDir)).endpoints[which];
}

/**
 * The answer of a server, or an error that names the server.
 * @param server its name for a person: `Kafka at localhost:9092`
 * @throws StartError
 */
export async function answerOf<T>(server: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    const { messageOf } = await import('@video-pipeline/telemetry');
    throw new StartError(`${server} does not answer: ${messageOf(cause as Error)}`, { cause });
  }
}

/** Variables for the S3 API. None are needed on AWS, where the SDK finds its own. @throws StartError, ConfigError */
export async function s3Variables(target: Target): Promise<NodeJS.ProcessEnv> {
  if (target.stage) return {};
  const url = await serverOf('s3', target);
  return (await isOurStore(url, target))
    ? s3Environment(url, await localCredentials(target.dataDir))
    : { AWS_ENDPOINT_URL: url, ...fallbackCredentials() };
}

/** Whether the stack on the target's folder serves this S3 API. If not, the user runs it. */
async function isOurStore(url: string, { dataDir }: Target): Promise<boolean> {
  const state = await runningState(dataDir);
  if (!state || !('s3proxy' in state.services)) return false;
  const { hostname, port } = new URL(url);
  const isHere = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
  return isHere && port === new URL(state.endpoints.s3).port;
}

/** @throws StartError, ConfigError */
export async function openS3(target: Target): Promise<S3Client> {
  const variables = await s3Variables(target);
  const { connectS3 } = await import('@video-pipeline/local/s3-client');
  return connectS3(variables.AWS_ENDPOINT_URL, variables);
}
