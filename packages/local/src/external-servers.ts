import { readConfig, urlBelow } from '@video-pipeline/config';
import { getHttp, messageOf, withTimeout } from '@video-pipeline/telemetry';
import { answers } from './servers/kafka.ts';
import { StartError } from './supervisor/processes.ts';

const TIMEOUT_MS = 5_000;

/**
 * For each server: its variable, its name for a person, the check whether it answers, and the variables that apply
 * only to a server of the user's.
 */
const SERVERS = {
  kafka: {
    variable: 'KAFKA_BOOTSTRAP_SERVERS',
    what: 'Kafka',
    ask: (bootstrap: string) => answers(bootstrap, readConfig(['KAFKA_AUTH', 'AWS_REGION'])),
    about: ['KAFKA_AUTH', 'KAFKA_RACK'],
  },
  s3: { variable: 'AWS_ENDPOINT_URL', what: 'S3 API', ask: hasBucket, about: [] },
  inference: {
    variable: 'INFERENCE_SERVICE_URL',
    what: 'inference server',
    ask: async (url: string) => (await getHttp(urlBelow(url, 'health'), TIMEOUT_MS)).status === 200,
    about: ['INFERENCE_BACKEND'],
  },
} as const;

/** Servers that the user already runs, named by variables. The stack starts the others. */
export type ExternalServers = Partial<Record<keyof typeof SERVERS, string>>;

/**
 * Reads which servers the user names, and checks that each answers.
 * @throws ConfigError; StartError naming the variable whose server doesn't answer
 */
export async function findExternalServers(note: (line: string) => void): Promise<ExternalServers> {
  const config = readConfig(Object.values(SERVERS).map(({ variable }) => variable));
  const external: ExternalServers = {};
  for (const name of Object.keys(SERVERS) as (keyof ExternalServers)[]) {
    const { variable, what, ask, about } = SERVERS[name];
    const where = process.env[variable] && config[variable];
    if (!where) {
      ignore(about, variable, note);
      continue;
    }
    note(`using the ${what} at ${where}`);
    const problem = (reason: string) =>
      `nothing answers at ${variable}=${where}${reason}: start it, or unset ${variable}`;
    const answer = await withTimeout(TIMEOUT_MS, ask(where)).catch((cause) => {
      throw new StartError(problem(` (${messageOf(cause)})`), { cause });
    });
    if (!answer) throw new StartError(problem(''));
    external[name] = where;
  }
  return external;
}

/** Removes variables that a deployment, for example, has left: with them, the stack's own server is not reached. */
function ignore(names: readonly string[], variable: string, note: (line: string) => void): void {
  for (const name of names.filter((one) => process.env[one])) {
    note(`${name} is ignored: it has no effect unless ${variable} is set`);
    delete process.env[name];
  }
}

/** Creates the bucket unless it exists. @throws the AWS SDK's error */
async function hasBucket(url: string): Promise<boolean> {
  const { connectS3, ensureBucket } = await import('./servers/s3-client.ts');
  await ensureBucket(connectS3(url), readConfig(['S3_BUCKET']).S3_BUCKET);
  return true;
}
