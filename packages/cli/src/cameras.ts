import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { changeStreamsText, expandVariables, readConfig, readStreamsText } from '@video-pipeline/config';
import { exitWithError } from '@video-pipeline/lifecycle';
import { aligned, DIRECTORY, frameRate, StartError } from '@video-pipeline/local/lightweight';
import {
  putCamera,
  readCameras,
  removeCamera,
  STREAMS_KEY,
  setDisabled,
  TRANSPORTS,
} from '@video-pipeline/scene';
import { redact } from '@video-pipeline/telemetry';
import { Command, Option } from 'commander';
import { runInForeground } from './foreground.ts';
import { answerOf, dataDirOption, type Target as StackTarget } from './running.ts';
import { stageOption, useStage } from './stage.ts';

interface Target extends StackTarget {
  streams?: string;
}

const program = new Command('npm run cameras --')
  .description('list and change the cameras; ingest and the console follow within seconds')
  .addHelpText(
    'after',
    `
The list is the file that --streams or STREAMS_FILE names, else that of the stack on --data-dir.
A password does not belong on a command line: write \${NAME} in its place, and set the variable NAME for ingest.
The cameras of a deployed stage are those of its CAMERAS_FILE: change that, and deploy.`,
  );

const list = command('list', 'every camera with its address, without passwords').addOption(stageOption());
list.action(async (target: Target) => {
  const list = target.stage ? await listOfStage(target.stage) : readStreamsText(listOf(target));
  const cameras = list ? readCameras(list.text, list.where) : [];
  const shown = cameras.map(({ url = '', ...camera }) => ({ ...camera, url: redact(url) }));
  if (target.json) {
    console.log(JSON.stringify(shown));
    return;
  }
  const rows = shown.map(({ id, url, frame_rate, disabled }) => [
    id,
    disabled ? 'disabled' : 'enabled',
    frame_rate === undefined ? '-' : String(frame_rate),
    url || '-',
  ]);
  console.log(aligned([['camera', 'state', 'fps', 'address'], ...rows]).join('\n'));
});

command('add <id> <url>', 'add a camera, or change one')
  .option('--frame-rate <fps>', 'frames a second sampled from it', frameRate)
  .addOption(new Option('--transport <name>', 'how RTSP carries the packets').choices(TRANSPORTS))
  .action(async (id: string, url: string, options: Target & { frameRate?: number; transport?: string }) => {
    const draft = {
      id,
      url,
      ...(options.frameRate === undefined ? {} : { frame_rate: options.frameRate }),
      ...(options.transport === undefined ? {} : { transport: options.transport }),
    };
    await createList(options);
    change(options, `${id} is saved`, (text, where) => putCamera(text, draft, where));
  });

command('test <id|url>', 'show what a camera sends, and write one picture, or say why there is none')
  .option('--jpeg <file>', 'where to write the picture')
  .addOption(new Option('--transport <name>', 'how RTSP carries the packets').choices(TRANSPORTS))
  .action(async (given: string, options: Target & { jpeg?: string; transport?: string }) => {
    const isUrl = given.includes('://') || given.includes('$');
    const list = isUrl ? undefined : readStreamsText(listOf(options));
    const camera = list && readCameras(list.text, list.where).find(({ id }) => id === given);
    if (list && camera?.url === undefined)
      throw new StartError(`${list.where}: there is no camera '${given}'`);
    const CAMERA_URL = expandVariables(camera?.url ?? given, (name) => {
      throw new StartError(`its address needs the variable ${name}, which is not set`);
    });
    const transport = options.transport ?? camera?.transport ?? 'tcp';
    const args = ['--transport', transport, ...(options.json ? ['--json'] : [])];
    if (options.jpeg) args.push('--jpeg', resolve(DIRECTORY, options.jpeg));
    // In a variable, since ps shows the arguments of a command.
    process.exitCode = await runInForeground(
      'ingest-host/src/probe-command.ts',
      { CAMERA_URL },
      { args: [`\${CAMERA_URL}`, ...args] },
    );
  });

command('disable <id>', 'keep a camera in the list, but stop reading it').action(
  (id: string, target: Target) =>
    change(target, `${id} is disabled`, (text, where) => setDisabled(text, id, true, where)),
);

command('enable <id>', 'read a camera again').action((id: string, target: Target) =>
  change(target, `${id} is enabled`, (text, where) => setDisabled(text, id, false, where)),
);

command('remove <id>', 'remove a camera from the list, with its zones').action((id: string, target: Target) =>
  change(target, `${id} is removed`, (text, where) => removeCamera(text, id, where)),
);

await program.parseAsync().catch(exitWithError);

function command(usage: string, description: string): Command {
  return program
    .command(usage)
    .description(description)
    .option('--streams <file>', 'the list of streams')
    .addOption(dataDirOption())
    .option('--json', 'print JSON');
}

/** The list that a stage was deployed with, without addresses. @throws StartError */
async function listOfStage(given: string) {
  const stage = useStage(given);
  const where = `the list of cameras of stage '${stage}'`;
  const { createReader } = await import('@video-pipeline/storage');
  return { where, text: String(await answerOf(where, createReader().read(STREAMS_KEY))) };
}

/** @throws ConfigError; StartError when there is no list */
function listOf({ dataDir, streams }: Target) {
  const config = readConfig(['STREAMS', 'STREAMS_FILE']);
  if (streams !== undefined) return { STREAMS: undefined, STREAMS_FILE: resolve(DIRECTORY, streams) };
  if (config.STREAMS_FILE !== undefined) return { STREAMS: undefined, STREAMS_FILE: config.STREAMS_FILE };
  const own = join(dataDir, 'streams.json');
  if (!existsSync(own))
    throw new StartError(`there is no ${own}: start the stack, or name a list with --streams`);
  return { STREAMS: undefined, STREAMS_FILE: own };
}

/** A list that is named and does not exist yet is created empty. */
async function createList(target: Target): Promise<void> {
  const { STREAMS_FILE } = listOf(target);
  const empty = STREAMS_FILE.endsWith('.json') ? '[]\n' : '# The cameras.\n[]\n';
  if (!existsSync(STREAMS_FILE)) await writeFile(STREAMS_FILE, empty, { mode: 0o600, flag: 'wx' });
}

function change(target: Target, done: string, edit: (text: string, where: string) => string): void {
  const list = listOf(target);
  changeStreamsText(list, edit);
  console.log(
    target.json ? JSON.stringify({ done, file: list.STREAMS_FILE }) : `${done} in ${list.STREAMS_FILE}`,
  );
}
