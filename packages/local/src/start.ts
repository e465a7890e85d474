import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readConfig } from '@video-pipeline/config';
import { forceExitAfter, onNpmExit, runCommand } from '@video-pipeline/lifecycle';
import { Command, Option } from 'commander';
import { DIRECTORY, frameRate, keepDays, positiveInteger } from './command-line.ts';
import { ROOT, stateFile } from './lightweight.ts';
import { openBrowser } from './open.ts';
import { Screen, summaryLines } from './screen/screen.ts';
import type { StackOptions } from './services.ts';
import { runSession } from './session.ts';
import { expectFile, parseSources } from './sources.ts';
import { explainFullDisk, lock, StartError } from './supervisor/processes.ts';

interface Options extends Omit<StackOptions, 'autoPorts' | 'brokers' | 'sources'> {
  source?: string[];
  json?: boolean;
  ports: 'default' | 'auto';
  brokers: '1' | '3';
  open?: boolean;
  offline?: boolean;
  color: boolean;
}

/** Longest time from the signal to the end of all processes, milliseconds. */
const EXIT_TIMEOUT_MS = 4_500;

const program = new Command('npm start --')
  .description(
    'Run the whole pipeline on this machine: cameras, Kafka, detection, annotation, S3. ' +
      'Ctrl-C stops it; the next start continues where it stopped.',
  )
  .option(
    '--source <[name=]url|file>',
    "a camera's URL, a video file (played once), file?loop (played again and again), or a pattern such as " +
      "'recordings/*.mp4'; repeat for more (default: the cameras of STREAMS or STREAMS_FILE, else the demo cameras). " +
      `To keep a password out of ps, write '\${NAME}' for a variable in the URL, or @file for a file that holds the URL`,
    (value: string, before: string[] = []) => [...before, value],
  )
  .option('--frames <n>', 'publish exactly n frames, and end when they are annotated', positiveInteger)
  .option(
    '--frame-rate <fps>',
    'frames a second sampled from each stream (default: FRAME_RATE, or 10)',
    frameRate,
  )
  .option(
    '--model <file.onnx>',
    'your detector instead of the default model; docs/models.md lists the families',
  )
  .addOption(
    new Option('--ports <which>', 'the default ports, or any free ones')
      .choices(['default', 'auto'])
      .default('default'),
  )
  .addOption(
    new Option('--brokers <n>', 'brokers of Kafka: 3 is a cluster as on MSK, with each record on all of them')
      .choices(['1', '3'])
      .default('1'),
  )
  .option('--no-ingest', "publish nothing: start all the rest, and wait for 'npm run local -- producer'")
  .option('--no-console', 'no web page')
  .option('--clips', 'store a short MP4 of each event, as EVENT_CLIPS=on does')
  .option(
    '--keep-days <n>',
    'delete pictures and clips n days after they were stored, as a stage on AWS does (default: never)',
    keepDays,
  )
  .option('--open', 'open the web page in the browser, when started from a terminal')
  .option('--data-dir <folder>', 'where everything is written', join(ROOT, '.data'))
  .option('--offline', "fetch nothing: use what an earlier start or 'npm run local -- fetch' has fetched")
  .option('--json', 'print the summary as one JSON object on stdout, progress on stderr')
  .option('--no-color', 'no colours')
  .addHelpText(
    'after',
    `
The stack uses your own Kafka, S3 API or inference server if you set its variable:
KAFKA_BOOTSTRAP_SERVERS, AWS_ENDPOINT_URL, INFERENCE_SERVICE_URL. Logs are in <data-dir>/logs.`,
  )
  .action(run);

await runCommand(program.parseAsync());

async function run(options: Options): Promise<void> {
  if (!options.color) process.env.NO_COLOR = '1';
  if (options.offline) process.env.VIDEO_PIPELINE_OFFLINE = '1';
  const stackOptions = checked(options);
  const runDir = join(stackOptions.dataDir, 'run');
  const screen = new Screen(options.json ? process.stderr : process.stdout);
  const note = (line: string) => screen.note(line);
  // First: a signal must not end this process while it holds the lock.
  const stop = stopSignal(note);
  const release = await lock(runDir);
  const hooks = {
    note,
    show: screen.show.bind(screen),
    onConsole: (url: string) => {
      if (options.open && process.stdout.isTTY) openBrowser(url, note);
    },
  };
  try {
    stop.throwIfAborted();
    await mkdir(join(stackOptions.dataDir, 'logs'), { recursive: true });
    const summary = await runSession(stackOptions, hooks, stop);
    const text = options.json ? JSON.stringify(summary) : summaryLines(summary).join('\n');
    process.stdout.write(`${text}\n`);
    process.exitCode = summary.error ? 1 : 0;
  } catch (error) {
    throw await explainFullDisk(error as Error, stackOptions.dataDir);
  } finally {
    await rm(stateFile(stackOptions.dataDir), { force: true }).catch(() => {});
    await release();
  }
}

function checked({ source, ports, ...options }: Options): StackOptions {
  const model = options.model && resolve(DIRECTORY, options.model);
  if (model) expectFile('--model', model);
  return {
    ...options,
    dataDir: resolve(DIRECTORY, options.dataDir),
    autoPorts: ports === 'auto',
    brokers: Number(options.brokers),
    sources: source && parseSources(source, DIRECTORY),
    model,
    frames: options.frames ?? readConfig(['MAX_FRAMES']).MAX_FRAMES,
  };
}

/** Aborts at the first SIGINT, SIGTERM or SIGHUP, or when the parent has ended: npm, or the IPC channel's process. */
function stopSignal(note: (line: string) => void): AbortSignal {
  const stop = new AbortController();
  const end = () => stop.abort(new StartError('stopped before it had started'));
  stop.signal.addEventListener('abort', () => forceExitAfter(EXIT_TIMEOUT_MS, note, 1), { once: true });
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect']) process.on(name, end);
  process.channel?.unref(); // listening must not keep the process alive
  onNpmExit(end);
  return stop.signal;
}
