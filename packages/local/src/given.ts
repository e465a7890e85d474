import { readConfig, urlBelow } from '@video-pipeline/config';
import { messageOf, within } from '@video-pipeline/telemetry';
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
 * Reads which servers the user names, and checks that each answers.
 * @throws ConfigError; StartError naming the variable whose server doesn't answer
 */
export async function givenServers(note: (line: string) => void): Promise<Given> {
  const servers = ['KAFKA_BOOTSTRAP_SERVERS', 'AWS_ENDPOINT_URL', 'INFERENCE_SERVICE_URL'] as const;
  const config = readConfig([...servers, 'S3_BUCKET']);
  const given: Given = {};
  if (process.env.KAFKA_BOOTSTRAP_SERVERS) {
    const kafka = config.KAFKA_BOOTSTRAP_SERVERS;
    note(`using the Kafka at ${kafka}`);
    await reach('KAFKA_BOOTSTRAP_SERVERS', kafka, () => answers(kafka));
    given.kafka = kafka;
  }
  if (config.AWS_ENDPOINT_URL) {
    const s3 = config.AWS_ENDPOINT_URL;
    note(`using the S3 API at ${s3}`);
    const { connectS3, ensureBucket } = await import('./servers/s3-client.ts');
    await reach('AWS_ENDPOINT_URL', s3, async () => {
      await ensureBucket(connectS3(s3), config.S3_BUCKET);
      return true;
    });
    given.s3 = s3;
  }
  if (process.env.INFERENCE_SERVICE_URL) {
    const inference = config.INFERENCE_SERVICE_URL;
    note(`using the inference server at ${inference}`);
    const ask = async () => (await fetch(urlBelow(inference, 'health'))).ok;
    await reach('INFERENCE_SERVICE_URL', inference, ask);
    given.inference = inference;
  }
  return given;
}

async function reach(variable: string, where: string, ask: () => Promise<boolean>): Promise<void> {
  const told = (reason: string) =>
    `nothing answers at ${variable}=${where}${reason}: start it, or unset ${variable}`;
  const answer = await within(REACH_MS, ask()).catch((cause) => {
    throw new StartError(told(` (${messageOf(cause)})`), { cause });
  });
  if (!answer) throw new StartError(told(''));
}
