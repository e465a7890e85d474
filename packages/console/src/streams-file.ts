import {
  type Config,
  ConfigError,
  changeStreamsText,
  readStreamsText,
  streamsFileOf,
  versionOfFile,
  versionOfText,
} from '@video-pipeline/config';
import { isStreamId } from '@video-pipeline/frame';
import {
  type ListedStream,
  parseScenes,
  readScenes,
  readStreamIds,
  type SceneConfig,
  StreamsError,
  tracksObjects,
} from '@video-pipeline/scene';
import type { StreamScene } from './api.ts';

/** A change of the list's text. @param where the list's name, for errors */
export type Edit = (text: string, where: string) => string;

/** How often the console checks whether the list has changed, milliseconds. */
const LOOK_MS = 1_000;

/** The list of streams of the pipeline, for scenes and cameras. */
export class StreamsFile {
  readonly #config: Config<'STREAMS' | 'STREAMS_FILE'>;
  #streams: ReadonlyMap<string, ListedStream> | undefined;
  #tracked: readonly string[] = [];
  #version: string | undefined = '';
  #lookAt = 0;

  constructor(config: Config<'STREAMS' | 'STREAMS_FILE'>) {
    this.#config = config;
  }

  /** Ids of the listed streams, including entries with errors; `undefined` without a list, or if it can't be read. */
  ids(now = performance.now()): ReadonlySet<string> | undefined {
    const streams = this.streams(now);
    return streams && new Set(streams.keys());
  }

  /** The listed streams, and whether each is disabled. */
  streams(now = performance.now()): ReadonlyMap<string, ListedStream> | undefined {
    if (now < this.#lookAt) return this.#streams;
    this.#lookAt = now + LOOK_MS;
    const file = streamsFileOf(this.#config);
    const version = file === undefined ? this.#config.STREAMS : versionOfFile(file);
    if (version !== this.#version) this.#streams = this.#readStreams();
    this.#version = version;
    return this.#streams;
  }

  tracked(): readonly string[] {
    this.streams();
    return this.#tracked;
  }

  #readStreams(): ReadonlyMap<string, ListedStream> | undefined {
    this.#tracked = [];
    try {
      const streams = readStreamsText(this.#config);
      if (!streams) return undefined;
      const { scenes } = readScenes(streams.text, streams.where);
      this.#tracked = [...scenes].flatMap(([id, scene]) => (scene && tracksObjects(scene) ? [id] : []));
      const listed = readStreamIds(streams.text, streams.where).filter(({ id }) => isStreamId(id));
      return new Map(listed.map((stream) => [stream.id, stream]));
    } catch (error) {
      // Requests for a scene report this error.
      if (error instanceof StreamsError || error instanceof ConfigError) return undefined;
      throw error;
    }
  }

  /**
   * Zones, lines and rules of a stream, from the current list.
   * @throws ConfigError; StreamsError when the list, or this stream's entry, can't be read
   */
  scene(streamId: string): StreamScene {
    const { zones = {}, lines = {}, events = [], filters } = this.config(streamId) ?? {};
    const excluded = filters?.exclude ?? [];
    return { zones, lines, rules: events, excluded, writable: this.isWritable };
  }

  /** The whole scene of a stream, if it has one. @throws as {@link StreamsFile.scene} */
  config(streamId: string): SceneConfig | undefined {
    const streams = readStreamsText(this.#config);
    if (!streams) return undefined;
    const { scenes, problems } = readScenes(streams.text, streams.where);
    const wrong = problems.filter(({ id }) => id === streamId).map(({ text }) => text);
    if (wrong.length > 0) throw new StreamsError(`${streams.where}: ${wrong.join('; ')}`);
    return scenes.get(streamId);
  }

  /**
   * A stream's scene as it would be after a change. The list itself stays as it is.
   * @throws ConfigError when there is no list, StreamsError for an invalid change
   */
  sceneAfter(streamId: string, edit: Edit): SceneConfig {
    const list = this.text();
    if (!list) throw new ConfigError('there is no list of streams: set STREAMS_FILE');
    // The change itself refuses a stream that is not in the list.
    return parseScenes(edit(list.text, list.where), list.where).get(streamId) as SceneConfig;
  }

  /**
   * Changes the list. A reader sees the old file or the new one, never half of it.
   * @param version of the text that the change is for, from {@link StreamsFile.text}; left out: the newest text
   * @throws ConfigError when there is no file or it can't be written; StreamsError for an invalid change; StaleError
   * when the list has changed since then
   */
  change(edit: Edit, version?: string): void {
    changeStreamsText(this.#config, edit, version);
    this.#lookAt = 0;
  }

  /** The current list; `undefined` if there is none. @throws ConfigError */
  text(): { text: string; where: string; version: string } | undefined {
    const streams = readStreamsText(this.#config);
    return streams && { ...streams, version: versionOfText(streams.text) };
  }

  /** Whether the list can be changed, since it is a file. */
  get isWritable(): boolean {
    return streamsFileOf(this.#config) !== undefined;
  }
}
