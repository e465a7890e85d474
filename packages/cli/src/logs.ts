import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, watchFile } from 'node:fs';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { positiveInteger, StartError } from '@video-pipeline/local/place';
import { STAGES } from '@video-pipeline/stages';
import { Command } from 'commander';
import { dataDirOption, type Target } from './running.ts';
import { stageOption } from './stage.ts';

interface Options extends Target {
  follow?: boolean;
  lines: number;
  metrics?: boolean;
}

type Print = (service: string, line: string) => void;

const POLL_MS = 200;

export function logsCommand(): Command {
  return new Command('logs')
    .description(
      'print the logs of the services, the newest line last; with --stage, the last ten minutes, by the AWS CLI',
    )
    .argument('[service]', 'only this service')
    .option('-f, --follow', 'follow new lines')
    .option('-n, --lines <n>', 'lines of each service', positiveInteger, 20)
    .option('--metrics', 'also the lines of metrics, as CloudWatch takes them')
    .addOption(dataDirOption())
    .addOption(stageOption())
    .option('--json', 'print one JSON object a line: service and line, as it was written')
    .action(async (service: string | undefined, options: Options) => {
      const { stage, lines } = options;
      if (stage) {
        if (!service) throw new StartError(`name a service of the stage: ${STAGE_SERVICES}`);
        const print = printer([service], options.json);
        const from = { stage, service, follow: options.follow ?? false, lines };
        process.exitCode = await printStage(from, (line) => print(service, line));
        return;
      }
      const folder = join(options.dataDir, 'logs');
      const names = await serviceNames(folder, service);
      const print = chosen(printer(names, options.json), options);
      for (const name of names) await printLast(join(folder, `${name}.log`), name, options, print);
      if (!options.follow) return;
      for (const name of names) follow(join(folder, `${name}.log`), name, print);
      // Following never ends by itself: a signal ends it.
      await new Promise<never>(() => {});
    });
}

/** Services that write to CloudWatch. */
const STAGE_SERVICES = [
  ...STAGES.map(({ name }) => name),
  'ingest1',
  'ingest2 and on',
  'test-camera',
  'kafka',
].join(', ');

/**
 * Prints the log of a service of a stage, read with the AWS CLI.
 * @param options.lines most lines, unless they are followed
 * @returns the exit code of the AWS CLI
 * @throws StartError when the AWS CLI is missing
 */
export async function printStage(
  { stage, service, follow, lines }: { stage: string; service: string; follow: boolean; lines: number },
  print: (line: string) => void,
): Promise<number> {
  const args = ['logs', 'tail', `/video-pipeline/${stage}/${service}`, '--format', 'short'];
  const aws = spawn('aws', follow ? [...args, '--follow'] : args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(aws, 'close');
  closed.catch(() => {}); // awaited after the last line
  const last: string[] = [];
  for await (const line of createInterface({ input: aws.stdout })) {
    if (follow) print(line);
    else last.push(line);
  }
  last.slice(-lines).forEach(print);
  try {
    const [code] = await closed;
    return code ?? 1;
  } catch (cause) {
    throw new StartError("no 'aws' on PATH: install the AWS CLI to read the logs of a stage", { cause });
  }
}

async function serviceNames(folder: string, only: string | undefined): Promise<string[]> {
  const files = existsSync(folder) ? await readdir(folder) : [];
  const names = files.filter((name) => name.endsWith('.log')).map((name) => name.slice(0, -'.log'.length));
  if (names.length === 0) throw new StartError(`no logs in ${folder}: start with 'npm run local -- up'`);
  if (!only) return names.sort();
  if (!names.includes(only)) throw new StartError(`no service '${only}': there are ${names.join(', ')}`);
  return [only];
}

function printer(names: readonly string[], json: boolean | undefined): Print {
  const width = Math.max(...names.map((name) => name.length));
  if (json) return (service, line) => console.log(JSON.stringify({ service, line }));
  if (names.length === 1) return (_, line) => console.log(line);
  return (service, line) => console.log(`${service.padEnd(width)} | ${line}`);
}

async function printLast(file: string, name: string, options: Options, print: Print): Promise<void> {
  const lines = (await readFile(file, 'utf8')).split('\n').slice(0, -1);
  const wanted = lines.filter((line) => options.metrics || !isMetrics(line));
  for (const line of wanted.slice(-options.lines)) print(name, line);
}

/** Leaves out metrics unless they are asked for, and turns each line of our logger into a sentence. */
function chosen(print: Print, { metrics, json }: Options): Print {
  return (service, line) => {
    if (metrics || !isMetrics(line)) print(service, json ? line : sentence(line));
  };
}

function isMetrics(line: string): boolean {
  return line.startsWith('{') && line.includes('"CloudWatchMetrics"');
}

/** Turns a JSON line of our logger into `07:00:01 WARN camera is gone; stream=yard`. Other lines stay as they are. */
export function sentence(line: string): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line);
  } catch {
    return line;
  }
  const {
    level,
    message,
    timestamp,
    service: _service,
    sampling_rate: _rate,
    error,
    ...facts
  } = Object(entry);
  if (typeof level !== 'string' || typeof message !== 'string') return line;
  const reason = (error as { message?: unknown } | undefined)?.message;
  const named = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const parts = [...(reason === undefined ? [] : [String(reason)]), ...named];
  const time = new Date(String(timestamp));
  const clock = Number.isNaN(time.getTime()) ? '' : `${time.toTimeString().slice(0, 8)} `;
  return `${clock}${level} ${message}${parts.length > 0 ? `; ${parts.join(', ')}` : ''}`;
}

// By polling: file system events differ between systems, and a full log is renamed.
function follow(file: string, name: string, print: Print): void {
  let position = statSync(file).size;
  let rest = '';
  let reading = Promise.resolve();
  watchFile(file, { interval: POLL_MS }, ({ size }) => {
    reading = reading.then(async () => {
      if (size < position) position = 0;
      const text = await readFrom(file, position, size);
      position = size;
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) print(name, line);
    });
  });
}

async function readFrom(file: string, start: number, end: number): Promise<string> {
  const handle = await open(file).catch(() => undefined);
  if (!handle) return '';
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(end - start), 0, end - start, start);
  await handle.close();
  return buffer.toString('utf8', 0, bytesRead);
}
