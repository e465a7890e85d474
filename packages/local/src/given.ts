import { readConfig, urlBelow } from '@video-pipeline/config';
import { getHttp, messageOf, within } from '@video-pipeline/telemetry';
import { answers } from './servers/kafka.ts';
import { StartError } from './supervisor/processes.ts';

/** Servers that the user already runs, named by variables. The stack starts the others. */
export interface Given {
  kafka?: string;
  s3?: string;
  inference?: string;
}

const REACH_MS = 5_000;

/**
 * Each server's variable, its name for a person, how it is asked whether it answers, and the variables that are for a
 * server of the user's alone.
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
    ask: async (url: string) => (await getHttp(urlBelow(url, 'health'), REACH_MS)).status === 200,
    about: ['INFERENCE_BACKEND'],
  },
} as const;

/**
 * Reads which servers the user names, and checks that each answers.
 * @throws ConfigError; StartError naming the variable whose server doesn't answer
 */
export async function givenServers(note: (line: string) => void): Promise<Given> {
  const config = readConfig(Object.values(SERVERS).map(({ variable }) => variable));
  const given: Given = {};
  for (const name of Object.keys(SERVERS) as (keyof Given)[]) {
    const { variable, what, ask, about } = SERVERS[name];
    const where = process.env[variable] && config[variable];
    if (!where) {
      ignore(about, variable, note);
      continue;
    }
    note(`using the ${what} at ${where}`);
    const told = (reason: string) =>
      `nothing answers at ${variable}=${where}${reason}: start it, or unset ${variable}`;
    const answer = await within(REACH_MS, ask(where)).catch((cause) => {
      throw new StartError(told(` (${messageOf(cause)})`), { cause });
    });
    if (!answer) throw new StartError(told(''));
    given[name] = where;
  }
  return given;
}

/** Forgets what a deployment, say, has left in the environment: a server of ours would not be reached with it. */
function ignore(names: readonly string[], variable: string, note: (line: string) => void): void {
  for (const name of names.filter((one) => process.env[one])) {
    note(`${name} is ignored: it has no effect unless ${variable} is set`);
    delete process.env[name];
  }
}

/** Whether there is a bucket now. @throws the AWS SDK's error */
async function hasBucket(url: string): Promise<boolean> {
  const { connectS3, ensureBucket } = await import('./servers/s3-client.ts');
  await ensureBucket(connectS3(url), readConfig(['S3_BUCKET']).S3_BUCKET);
  return true;
}
