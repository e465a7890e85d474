import { statSync } from 'node:fs';
import {
  type Config,
  readConfig,
  readStreamsText,
  type StreamsText,
  streamsFileOf,
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
  let scenes = scenesOf(config, new Map(), log);
  if (file === undefined) return () => scenes;
  let version = versionOf(file);
  return () => {
    const now = versionOf(file);
    if (now === version) return scenes;
    version = now;
    try {
      scenes = scenesOf(config, scenes, log);
      log.info('scenes read again');
    } catch (error) {
      log.error('scenes not read again, the former ones go on', error as Error);
    }
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
  let read: string | undefined;
  let scenes: ReadonlyMap<string, SceneConfig> = new Map();
  return async () => {
    const now = await text();
    if (now === read) return scenes;
    try {
      scenes = scenesIn({ text: now, where: url }, scenes, log);
      if (read !== undefined) log.info('scenes read again');
    } catch (error) {
      if (read === undefined) throw error;
      log.error('scenes not read again, the former ones go on', error as Error);
    }
    read = now;
    return scenes;
  };
}

/** @param former of a stream that can't be read any more, this scene goes on */
function scenesOf(
  config: Config<'STREAMS' | 'STREAMS_FILE'>,
  former: ReadonlyMap<string, SceneConfig>,
  log: Pick<Logger, 'error'>,
): Map<string, SceneConfig> {
  const streams = readStreamsText(config);
  return streams ? scenesIn(streams, former, log) : new Map();
}

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

/** What differs once a file was written or another one put in its place. */
function versionOf(file: string): string {
  const { ino, mtimeMs, size } = statSync(file, { throwIfNoEntry: false }) ?? {};
  return [ino, mtimeMs, size].join();
}
