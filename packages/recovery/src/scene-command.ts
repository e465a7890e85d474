import { ConfigError, readConfig, readStreamsText } from '@video-pipeline/config';
import { exitWithError } from '@video-pipeline/lifecycle';
import { parseTime } from '@video-pipeline/lifecycle/parse-time';
import { parseScenes, type SceneConfig, type SceneEvent } from '@video-pipeline/scene';
import { createReader } from '@video-pipeline/storage';
import { Command } from 'commander';
import { filesOf, replayScene, storedDetections } from './scene-replay.ts';

/** The stream's scene from the file, otherwise from STREAMS or STREAMS_FILE. */
function sceneOf(streamId: string, file: string | undefined): SceneConfig {
  const config = readConfig(['STREAMS', 'STREAMS_FILE']);
  const list = readStreamsText(file === undefined ? config : { STREAMS: undefined, STREAMS_FILE: file });
  if (!list) throw new ConfigError('no list of streams: give --streams <file>, or set STREAMS_FILE');
  const scene = parseScenes(list.text, list.where).get(streamId);
  if (!scene) throw new ConfigError(`${list.where}: stream '${streamId}' has no scene`);
  return scene;
}

function lineOf(event: SceneEvent): string {
  const { at, rule, type, track_id, class_name, zone, line, direction, seconds, count } = event;
  const facts = { zone, line, direction, seconds, count, class_name, track_id };
  const known = Object.entries(facts).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  return [new Date(at).toISOString(), rule, type, ...known].join('  ');
}

await new Command('npm run scene --')
  .description("try a stream's zones, lines and rules on detections that are stored already")
  .command('replay')
  .description('print the events that the scene would have given')
  .argument('[files...]', 'NDJSON files of stored detections; without them, the bucket is read')
  .requiredOption('--stream <id>', 'the stream')
  .option('--streams <file>', 'list of streams with the edited scene; without it, STREAMS or STREAMS_FILE')
  .option(
    '--from <time>',
    'frames captured at this time or later, ISO 8601; without files, needed',
    parseTime,
  )
  .option('--to <time>', 'frames captured before this time, ISO 8601; without files, needed', parseTime)
  .option('--json', 'print the events as JSON, one a line', false)
  .addHelpText(
    'after',
    '\nNothing is published and nothing is stored. What filters removed was never stored.',
  )
  .action(async (files: string[], { stream, streams, from, to, json }) => {
    if (files.length === 0 && !(from && to)) {
      throw new ConfigError('give --from and --to, or files of stored detections');
    }
    const range = {
      streamId: stream,
      from: from?.getTime() ?? 0,
      to: to?.getTime() ?? Number.POSITIVE_INFINITY,
    };
    const config = sceneOf(stream, streams);
    const { S3_PREFIX } = readConfig(['S3_PREFIX']);
    const texts = files.length > 0 ? filesOf(files) : storedDetections(createReader(), range);
    const onForeign = ({ message }: Error) => {
      console.error(message);
      process.exitCode = 1;
    };
    const { frames, events } = await replayScene(texts, { ...range, config, prefix: S3_PREFIX, onForeign });
    for (const event of events) console.log(json ? JSON.stringify(event) : lineOf(event));
    console.error(`${frames} frames of '${stream}', ${events.length} events`);
  })
  .parent?.parseAsync()
  .catch(exitWithError);
