import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Command } from 'commander';
import { ROOT } from '../launcher.ts';
import { StartError } from '../processes.ts';
import { parseSources, type Source } from '../sources.ts';
import { frameRate, positiveInteger } from './numbers.ts';
import { DIRECTORY, dataDirOption, requireState, runningState, serverOf } from './running.ts';

interface Options {
  source?: string[];
  frameRate?: number;
  frames?: number;
  dataDir: string;
  json?: boolean;
}

export function producerCommand(): Command {
  return new Command('producer')
    .description('publish the frames of cameras or videos to Kafka, in the foreground; Ctrl-C stops it')
    .option(
      '--source <[name=]url|file>',
      'as of npm start; repeatable; left out: the demo cameras of a stack started with --no-ingest',
      (value: string, before: string[] = []) => [...before, value],
    )
    .option('--frame-rate <fps>', 'frames a second sampled from each stream', frameRate)
    .option('--frames <n>', 'end after n frames', positiveInteger)
    .addOption(dataDirOption())
    .option('--json', 'what it prints is one JSON object a line in any case')
    .action(async (options: Options) => {
      process.exitCode = await produce(options);
    });
}

async function produce({ source, frameRate, frames, dataDir }: Options): Promise<number> {
  const kafka = await serverOf('kafka', dataDir);
  const sources = source ? parseSources(source, DIRECTORY) : await demoCameras(dataDir);
  const ingest = spawn(process.execPath, [join(ROOT, 'ingest-host/src/main.ts')], {
    stdio: 'inherit',
    env: {
      ...process.env,
      KAFKA_BOOTSTRAP_SERVERS: kafka,
      STREAMS: JSON.stringify(sources.map(({ id, url }) => ({ id, url }))),
      HEALTH_PORT: '0',
      ...(frameRate ? { FRAME_RATE: String(frameRate) } : {}),
      ...(frames ? { MAX_FRAMES: String(frames) } : {}),
    },
  });
  // It gets a terminal's Ctrl-C itself; we wait for its end.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => ingest.kill('SIGTERM'));
  const [code] = await once(ingest, 'exit');
  return code ?? 1;
}

async function demoCameras(dataDir: string): Promise<Source[]> {
  const { cameras, services } = (await runningState(dataDir)) ?? (await requireState(dataDir));
  if (services.ingest)
    throw new StartError('the stack reads its cameras already: name another with --source');
  if (cameras.length === 0) throw new StartError('the stack has no demo cameras: name one with --source');
  return cameras;
}
