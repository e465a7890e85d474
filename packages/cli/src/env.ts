import type { Command } from 'commander';
import { requireState, s3Variables, stackCommand, type Target } from './running.ts';

export function envCommand(): Command {
  return stackCommand('env', 'variables that point other tools at the running pipeline')
    .addHelpText(
      'after',
      `
In a shell, this lets the AWS CLI, boto3, rclone and all other commands of the pipeline find it:
  eval "$(npm run local -s -- env)" && aws s3 ls s3://video-pipeline-output/`,
    )
    .action(async ({ json, ...target }: Target) => {
      const { endpoints } = await requireState(target.dataDir);
      const variables = {
        KAFKA_BOOTSTRAP_SERVERS: endpoints.kafka,
        INFERENCE_SERVICE_URL: endpoints.inference,
        AWS_REGION: process.env.AWS_REGION || 'us-east-1',
        ...(await s3Variables(target)),
      };
      const set = Object.entries(variables).filter(([, value]) => value !== undefined);
      const unset = Object.keys(variables).filter((name) => !set.some(([known]) => known === name));
      if (json) console.log(JSON.stringify(Object.fromEntries(set)));
      else {
        for (const [name, value] of set) console.log(`export ${name}='${value}'`);
        for (const name of unset) console.log(`unset ${name}`);
      }
    });
}
