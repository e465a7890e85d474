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

export const SCENE_VARIABLES = ['STREAMS', 'STREAMS_FILE', 'ALLOWED_CLASSES'] as const;

/**
 * The configured scenes, by stream. An error in one stream does not affect the others. A file is read again once it has
 * changed. If the new file is invalid, the former scenes stay in use.
 * @throws ConfigError, StreamsError when the configuration is invalid at the start
 */
export function scenesReader(
  config: Config<'STREAMS' | 'STREAMS_FILE'>,
  log: Pick<Logger, 'info' | 'error'>,
): () => ReadonlyMap<string, SceneConfig> {
  const file = streamsFileOf(config);
  const read = versionedReader(log);
  const now = () => read(file && versionOfFile(file), () => readStreamsText(config));
  now();
  return now;
}

/** How often the streams file in S3 is read again, milliseconds. */
const LIST_AGE_MS = 30_000;

/**
 * The scenes of a streams file in S3, `s3://bucket/key`. It can change without a deploy. Its size is not limited,
 * unlike that of a Lambda function's environment. If the first read fails, the batch fails and is delivered again.
 */
export function followScenes(
  url: string,
  log: Pick<Logger, 'info' | 'error'>,
  text = followText(url, readConfig(['AWS_REGION', 'AWS_ENDPOINT_URL']), {
    everyMs: LIST_AGE_MS,
    onError: (error) => log.error("the new scenes can't be used: the former ones stay in use", error),
  }),
): () => Promise<ReadonlyMap<string, SceneConfig>> {
  const read = versionedReader(log);
  return async () => {
    const now = await text();
    return read(now, () => ({ text: now, where: url }));
  };
}

/**
 * @returns a function that reads the scenes when the version of their list has changed. After the first valid list, an
 *   invalid one leaves the former scenes in use
 */
function versionedReader(log: Pick<Logger, 'info' | 'error'>) {
  let scenes: ReadonlyMap<string, SceneConfig> | undefined;
  let known: string | undefined;
  /** A stream whose configuration has become invalid keeps its former scene. */
  const scenesIn = ({ text, where }: StreamsText) => {
    const list = readScenes(text, where);
    const now = new Map([...list.scenes].flatMap(([id, scene]) => (scene ? [[id, scene] as const] : [])));
    for (const { id = '', text } of list.problems) {
      log.error(`${where}: ${text}; the other streams are not affected`);
      const former = scenes?.get(id);
      if (former && !list.scenes.has(id)) now.set(id, former);
    }
    return now;
  };
  return (version: string | undefined, list: () => StreamsText | undefined) => {
    if (scenes && version === known) return scenes;
    known = version;
    try {
      const streams = list();
      const now = streams ? scenesIn(streams) : new Map<string, SceneConfig>();
      if (scenes) log.info('scenes read again');
      scenes = now;
    } catch (error) {
      if (!scenes) throw error;
      log.error("the new scenes can't be used: the former ones stay in use", error as Error);
    }
    return scenes;
  };
}
