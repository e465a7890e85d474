import {
  type Config,
  readConfig,
  readStreamsText,
  type StreamsText,
  streamsFileOf,
  versionOfFile,
} from '@video-pipeline/config';
import { readScenes, type SceneConfig } from '@video-pipeline/scene';
import { followText } from '@video-pipeline/storage';
import type { Logger } from '@video-pipeline/telemetry';

/** Variables that say what the streams' scenes are. */
export const SCENE_VARIABLES = ['STREAMS', 'STREAMS_FILE', 'ALLOWED_CLASSES'] as const;

/**
 * The scenes that the environment names, by stream. What is wrong with one stream does not touch the others. A file is
 * read again once it has changed; the former scenes go on where it has become wrong.
 * @throws ConfigError, StreamsError when they are wrong from the beginning
 */
export function scenesReader(
  config: Config<'STREAMS' | 'STREAMS_FILE'>,
  log: Pick<Logger, 'info' | 'error'>,
): () => ReadonlyMap<string, SceneConfig> {
  const file = streamsFileOf(config);
  const read = goingOn(log);
  let scenes = read(() => readStreamsText(config));
  if (file === undefined) return () => scenes;
  let version = versionOfFile(file);
  return () => {
    const now = versionOfFile(file);
    if (now !== version) scenes = read(() => readStreamsText(config));
    version = now;
    return scenes;
  };
}

/** The list on AWS is asked for again after so long, milliseconds. */
const LIST_AGE_MS = 30_000;

/**
 * The scenes of a list that lies in the bucket, `s3://bucket/key`: changed without a deploy, and of any size, unlike
 * Lambda's environment. A list that can't be read at first fails the batch, to be delivered again.
 */
export function followScenes(
  url: string,
  log: Pick<Logger, 'info' | 'error'>,
  text = followText(url, readConfig(['AWS_REGION', 'AWS_ENDPOINT_URL']), {
    everyMs: LIST_AGE_MS,
    onError: (error) => log.error('scenes not read again, the former ones go on', error),
  }),
): () => Promise<ReadonlyMap<string, SceneConfig>> {
  const read = goingOn(log);
  let before: string | undefined;
  let scenes: ReadonlyMap<string, SceneConfig> = new Map();
  return async () => {
    const now = await text();
    if (now !== before) scenes = read(() => ({ text: now, where: url }));
    before = now;
    return scenes;
  };
}

/** @returns reads scenes; but for the first time, the former ones go on where they have become wrong */
function goingOn(log: Pick<Logger, 'info' | 'error'>) {
  let scenes: ReadonlyMap<string, SceneConfig> | undefined;
  return (list: () => StreamsText | undefined): ReadonlyMap<string, SceneConfig> => {
    try {
      const streams = list();
      const now = streams ? scenesIn(streams, scenes ?? new Map(), log) : new Map();
      if (scenes) log.info('scenes read again');
      scenes = now;
    } catch (error) {
      if (!scenes) throw error;
      log.error('scenes not read again, the former ones go on', error as Error);
    }
    return scenes;
  };
}

/** @param former of a stream that can't be read any more, this scene goes on */
function scenesIn(
  streams: StreamsText,
  former: ReadonlyMap<string, SceneConfig>,
  log: Pick<Logger, 'error'>,
): Map<string, SceneConfig> {
  const { scenes, problems } = readScenes(streams.text, streams.where);
  const known = new Map([...scenes].flatMap(([id, scene]) => (scene ? [[id, scene] as const] : [])));
  for (const { id, text } of problems) {
    log.error(`${streams.where}: ${text}; the other streams go on`);
    const scene = id === undefined ? undefined : former.get(id);
    if (id !== undefined && scene && !scenes.has(id)) known.set(id, scene);
  }
  return known;
}
