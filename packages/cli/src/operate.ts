import { exitWithError } from '@video-pipeline/lifecycle';
import { StartError } from '@video-pipeline/local/lightweight';
import { FAILED_FOLDERS } from '@video-pipeline/stages';
import { Command } from 'commander';
import { runInForeground } from './foreground.ts';
import { dataDirOption, runningState, s3Variables, type Target } from './running.ts';
import { stageOption, useStage } from './stage.ts';

/** Programs that are not in packages/recovery. */
const PROGRAMS: Record<string, string> = {
  search: 'packages/tables/src/search-command.ts',
  compact: 'packages/tables/src/main.ts',
};
/** Commands that accept files instead of servers. */
const TAKE_FILES = ['scene'];
const GIVEN = ['KAFKA_BOOTSTRAP_SERVERS', 'AWS_ENDPOINT_URL', 'S3_BUCKET'];

/**
 * Runs an operator's command on a pipeline: the stage that `--stage` names, the servers that variables name, or the
 * stack that runs on this machine.
 */
await new Command('operate')
  .argument('<name>', 'name of the command in package.json, and of its file')
  .argument('[args...]')
  .addOption(dataDirOption())
  .addOption(stageOption())
  .allowUnknownOption()
  .helpOption(false)
  .action(async (name: string, given: string[], options: Target) => {
    const { args, target } = withoutFolder(given, options);
    const isHelp = args.some((arg) => arg === '--help' || arg === '-h' || arg === 'help');
    const env = isHelp ? {} : await serversOf(name, target);
    const program = PROGRAMS[name] ?? `packages/recovery/src/${name}-command.ts`;
    process.exitCode = await runInForeground(program, env, { args });
  })
  .parseAsync()
  .catch(exitWithError);

/** `--stage` may also name a folder of `failed/` here. In all other commands it names a deployment. */
function withoutFolder(args: string[], { dataDir, stage }: Target): { args: string[]; target: Target } {
  if (stage === undefined || !FAILED_FOLDERS.includes(stage))
    return { args, target: { dataDir, ...(stage ? { stage } : {}) } };
  process.stderr.write(`--stage ${stage} is taken for --by ${stage}\n`);
  return { args: [...args, '--by', stage], target: { dataDir } };
}

/** @throws StartError when no pipeline is found */
async function serversOf(name: string, target: Target): Promise<NodeJS.ProcessEnv> {
  const { stage, dataDir } = target;
  if (stage) {
    process.stderr.write(`${name}: stage '${useStage(stage)}'\n`);
    return {};
  }
  const given = GIVEN.filter((variable) => process.env[variable]);
  const state = await runningState(dataDir);
  if (!state || process.env.KAFKA_BOOTSTRAP_SERVERS) {
    if (given.length > 0 || TAKE_FILES.includes(name)) return {};
    throw new StartError(
      `nothing runs on ${dataDir}: start it with 'npm start', name another folder with --data-dir, a deployed stage with ` +
        `--stage, or servers of yours with ${GIVEN.join(', ')}`,
    );
  }
  process.stderr.write(`${name}: the stack on ${dataDir}, process ${state.pid}\n`);
  return {
    KAFKA_BOOTSTRAP_SERVERS: state.endpoints.kafka,
    INFERENCE_SERVICE_URL: state.endpoints.inference,
    ...(await s3Variables(target)),
  };
}
