import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Option } from 'commander';
import { ROOT } from '../launcher.ts';
import { NotRunningError } from './running.ts';

/** What the app in `sst.config.ts` returns. */
interface Outputs {
  stage: string;
  bucket: string;
  kafka: string;
  /** A URL, or the name of a SageMaker endpoint. */
  inference: string;
}

/** The option of every command that can look at AWS as well. */
export function stageOption(): Option {
  return new Option(
    '--stage <name>',
    'the stage on AWS instead of this machine; what asks Kafka needs `npx sst tunnel` beside it',
  );
}

/**
 * Variables that name the servers of a deployed stage.
 * @param file what `sst deploy`, or `sst refresh`, wrote last
 * @throws NotRunningError when that was of another stage
 */
export function stageVariables(stage: string, file = join(ROOT, '.sst/outputs.json')) {
  const outputs: Partial<Outputs> = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  if (outputs.stage !== stage || !outputs.kafka || !outputs.bucket) {
    throw new NotRunningError(
      `${file} doesn't tell of stage '${stage}': deploy it with 'npm run deploy -- --stage ${stage} full', or, ` +
        `where that was done elsewhere, run 'npx sst refresh --stage ${stage}'`,
    );
  }
  return {
    KAFKA_BOOTSTRAP_SERVERS: outputs.kafka,
    KAFKA_AUTH: 'iam',
    S3_BUCKET: outputs.bucket,
    AWS_ENDPOINT_URL: undefined,
    INFERENCE_SERVICE_URL: URL.canParse(outputs.inference ?? '') ? outputs.inference : undefined,
  };
}

/** Puts a stage's servers in the place of this machine's, for all that reads variables after it. */
export function useStage(stage: string): void {
  for (const [name, value] of Object.entries(stageVariables(stage))) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}
