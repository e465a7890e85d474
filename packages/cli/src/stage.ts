import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { deployRegion, readConfig } from '@video-pipeline/config';
import { DIRECTORY, ROOT, StartError } from '@video-pipeline/local/lightweight';
import { type Command, Option } from 'commander';
import { stackCommand } from './running.ts';

/** The outputs of the app in `sst.config.ts`. */
interface Outputs {
  stage: string;
  bucket: string;
  kafka: string;
  /** A URL, or the name of a SageMaker endpoint. */
  inference: string;
  /** Address of AWS's APIs, if it is not AWS. It is written by hand, for a stand-in of AWS. */
  endpoint: string;
  /** Value of KAFKA_AUTH. It is written by hand, too. */
  kafkaAuth: string;
}

/** A command that can also work on a stage on AWS. */
export function targetCommand(name: string, description: string): Command {
  return stackCommand(name, description).addOption(stageOption());
}

export function stageOption(): Option {
  return new Option(
    '--stage <name>',
    'a stage on AWS instead of this machine, or the outputs.json of its deployment; from outside its VPC, ' +
      'commands that ask Kafka need `npx sst tunnel` beside them',
  );
}

const OUTPUTS = join(ROOT, '.sst/outputs.json');

/**
 * Finds a deployed stage and the variables that name its servers.
 * @param given its name, or a file such as `sst deploy` writes
 * @param outputs the file that the last `sst deploy` or `sst refresh` wrote
 * @throws StartError when that file is of another stage; ConfigError
 */
export function findStage(given: string, outputs = OUTPUTS) {
  const isFile = given.endsWith('.json');
  const file = isFile ? resolve(DIRECTORY, given) : outputs;
  const { stage, bucket, kafka, inference, endpoint, kafkaAuth = 'iam' } = readOutputs(file);
  if (!stage || !kafka || !bucket || (!isFile && stage !== given)) {
    throw new StartError(
      isFile
        ? `${file} is not what 'sst deploy' writes: it must hold stage, bucket and kafka`
        : `${file} does not name stage '${given}': deploy it with 'npm run deploy -- --stage ${given} full', or, ` +
            `where that was done elsewhere, run 'npx sst refresh --stage ${given}'`,
    );
  }
  // A URL of the outputs works only in the VPC. So the shell's URL has priority: it may name a forwarded port.
  const url = process.env.INFERENCE_SERVICE_URL || (URL.canParse(inference ?? '') ? inference : undefined);
  const variables = {
    KAFKA_BOOTSTRAP_SERVERS: kafka,
    KAFKA_AUTH: kafkaAuth,
    S3_BUCKET: bucket,
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: deployRegion(),
    INFERENCE_SERVICE_URL: url,
    INFERENCE_BACKEND: url || !inference ? undefined : 'sagemaker',
    SAGEMAKER_ENDPOINT_NAME: url ? undefined : inference,
  };
  readConfig(['KAFKA_BOOTSTRAP_SERVERS', 'KAFKA_AUTH', 'S3_BUCKET', 'AWS_ENDPOINT_URL'], variables);
  return { stage, variables };
}

function readOutputs(file: string): Partial<Outputs> {
  try {
    return existsSync(file) ? Object(JSON.parse(readFileSync(file, 'utf8'))) : {};
  } catch (cause) {
    throw new StartError(`${file} can't be read: ${(cause as Error).message}`, { cause });
  }
}

/** Sets the variables that name servers to those of a stage. @returns the stage's name */
export function useStage(given: string): string {
  const { stage, variables } = findStage(given);
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  return stage;
}
