import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readConfig } from '@video-pipeline/config';
import { Option } from 'commander';
import { ROOT } from '../launcher.ts';
import { supervisorOf } from '../processes.ts';
import { type State, stateFile } from '../session.ts';

/** What a command needs does not run; the message says how to start it. */
export class NotRunningError extends Error {
  override readonly name = 'NotRunningError';
}

/** npm starts scripts in the repository's root: a relative path means the folder the person was in. */
export const DIRECTORY = process.env.INIT_CWD ?? process.cwd();

/** The option of every command that looks at a stack. */
export function dataDirOption(): Option {
  return new Option('--data-dir <folder>', 'the folder of the stack')
    .default(join(ROOT, '.data'))
    .argParser((folder) => resolve(DIRECTORY, folder));
}

/** How the stack on `dataDir` stands; `undefined` when none runs, or is only starting. */
export async function runningState(dataDir: string): Promise<State | undefined> {
  const pid = await supervisorOf(join(dataDir, 'run'));
  if (!pid) return undefined;
  const text = await readFile(stateFile(dataDir), 'utf8').catch(() => undefined);
  const state = text === undefined ? undefined : (JSON.parse(text) as State);
  return state?.pid === pid ? state : undefined;
}

/** @throws NotRunningError */
export async function requireState(dataDir: string): Promise<State> {
  const state = await runningState(dataDir);
  if (state) return state;
  throw new NotRunningError(
    `nothing runs on ${dataDir}: start it with 'npm run local -- up', or 'npm start'`,
  );
}

const SERVERS = {
  kafka: 'KAFKA_BOOTSTRAP_SERVERS',
  s3: 'AWS_ENDPOINT_URL',
  inference: 'INFERENCE_SERVICE_URL',
} as const;

/**
 * Where a server is: where its variable says, or else in the stack that runs on `dataDir`.
 * @throws NotRunningError, ConfigError
 */
export async function serverOf(which: keyof typeof SERVERS, dataDir: string): Promise<string> {
  const variable = SERVERS[which];
  const given = process.env[variable] ? readConfig([variable])[variable] : undefined;
  return given ?? (await requireState(dataDir)).endpoints[which];
}
