import {
  DIRECTORY,
  frameRate,
  parseSources,
  positiveInteger,
  type Source,
  StartError,
} from '@video-pipeline/local/lightweight';
import { Command } from 'commander';
import { runInForeground } from './foreground.ts';
import { dataDirOption, requireState, serverOf, type Target } from './running.ts';
import { stageOption } from './stage.ts';

interface Options extends Target {
  source?: string[];
  frameRate?: number;
  frames?: number;
}

export function producerCommand(): Command {
  return new Command('producer')
    .description('publish the frames of cameras or videos to Kafka, in the foreground; Ctrl-C stops it')
    .option(
      '--source <[name=]url|file>',
      'as --source of npm start; repeat for more (default: the demo cameras of a stack started with --no-ingest)',
      (value: string, before: string[] = []) => [...before, value],
    )
    .option('--frame-rate <fps>', 'frames a second sampled from each stream', frameRate)
    .option('--frames <n>', 'end after n frames', positiveInteger)
    .addOption(dataDirOption())
    .addOption(stageOption())
    .option('--json', 'without effect: the output is always one JSON object a line')
    .action(async (options: Options) => {
      process.exitCode = await produce(options);
    });
}

async function produce({ source, frameRate, frames, ...target }: Options): Promise<number> {
  const kafka = await serverOf('kafka', target);
  const sources = source ? parseSources(source, DIRECTORY) : await demoCameras(target);
  return runInForeground('ingest-host/src/main.ts', {
    KAFKA_BOOTSTRAP_SERVERS: kafka,
    STREAMS: JSON.stringify(sources.map(({ id, url }) => ({ id, url }))),
    HEALTH_PORT: '0',
    ...(frameRate ? { FRAME_RATE: String(frameRate) } : {}),
    ...(frames ? { MAX_FRAMES: String(frames) } : {}),
  });
}

async function demoCameras({ dataDir, stage }: Target): Promise<Source[]> {
  if (stage) throw new StartError('a stage has no demo cameras: name one with --source');
  const { cameras, services } = await requireState(dataDir);
  if (services.ingest)
    throw new StartError('the stack reads its cameras already: name another with --source');
  if (cameras.length === 0) throw new StartError('the stack has no demo cameras: name one with --source');
  return cameras;
}
