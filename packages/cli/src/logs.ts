import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { positiveInteger, StartError } from '@video-pipeline/local/lightweight';
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
      const files = names.map((name) => ({
        path: join(folder, `${name}.log`),
        take: (line: string) => print(name, line),
      }));
      const ends: number[] = [];
      for (const { path, take } of files) ends.push(await printLast(path, options, take));
      if (!options.follow) return;
      // Only a signal ends this.
      await Promise.all(files.map(({ path, take }, i) => follow(path, ends[i] ?? 0, take)));
    });
}

/** Services that write to CloudWatch. */
const STAGE_SERVICES = [...STAGES.map(({ name }) => name), 'ingest<n>', 'test-camera', 'kafka'].join(', ');

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
    else if (last.push(line) > lines) last.shift();
  }
  last.forEach(print);
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

/** @returns the position after the last line, bytes */
async function printLast(file: string, options: Options, print: (line: string) => void): Promise<number> {
  const lines: string[] = [];
  const end = await readLines(file, 0, (line) => {
    if (options.metrics || !isMetrics(line)) lines.push(line);
  });
  lines.slice(-options.lines).forEach(print);
  return end;
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
  const { level, message, timestamp, error, ...rest } = Object(entry);
  const { service: _service, sampling_rate: _rate, ...facts } = rest;
  if (typeof level !== 'string' || typeof message !== 'string') return line;
  const reason = (error as { message?: unknown } | undefined)?.message ?? error;
  const named = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const parts = [...(reason === undefined ? [] : [String(reason)]), ...named];
  const time = new Date(String(timestamp));
  const clock = Number.isNaN(time.getTime()) ? '' : `${time.toTimeString().slice(0, 8)} `;
  return `${clock}${level} ${message}${parts.length > 0 ? `; ${parts.join(', ')}` : ''}`;
}

/**
 * Prints the lines of a log from a position on, bytes, as they come. It polls, since file system events differ between
 * systems, and a full log is renamed.
 */
export async function follow(
  file: string,
  from: number,
  take: (line: string) => void,
  signal?: AbortSignal,
): Promise<never> {
  for (let position = from; ; await sleep(POLL_MS, undefined, { signal })) {
    const { size } = await stat(file).catch(() => ({ size: 0 }));
    if (size < position) position = 0;
    if (size > position) position += await readLines(file, position, take).catch(() => 0);
  }
}

/** Reads the whole lines of a file from a position on, bytes. @returns their length, bytes */
async function readLines(file: string, start: number, take: (line: string) => void): Promise<number> {
  const bytes = Buffer.concat(await Array.fromAsync<Buffer>(createReadStream(file, { start })));
  // A line that is being written is read later.
  const end = bytes.lastIndexOf('\n') + 1;
  if (end > 0)
    bytes
      .toString('utf8', 0, end - 1)
      .split('\n')
      .forEach(take);
  return end;
}
