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
  putShape,
  readScenes,
  readStreamIds,
  removeShape,
  type SceneConfig,
  type Shape,
  StreamsError,
  tracksObjects,
} from '@video-pipeline/scene';
import type { StreamScene } from './api.ts';

/** So often it is looked whether the list has changed. */
const LOOK_MS = 1_000;

/** The list of streams that the pipeline runs on, as far as it says what the pictures mean. */
export class StreamsFile {
  readonly #config: Config<'STREAMS' | 'STREAMS_FILE'>;
  #streams: ReadonlyMap<string, ListedStream> | undefined;
  #tracked: readonly string[] = [];
  #version: string | undefined = '';
  #lookAt = 0;

  constructor(config: Config<'STREAMS' | 'STREAMS_FILE'>) {
    this.#config = config;
  }

  /** The streams that the list has, also those that are wrong; `undefined` where there is no list, or none to be read. */
  ids(now = performance.now()): ReadonlySet<string> | undefined {
    const streams = this.streams(now);
    return streams && new Set(streams.keys());
  }

  /** The same, with whether each is disabled. */
  streams(now = performance.now()): ReadonlyMap<string, ListedStream> | undefined {
    if (now < this.#lookAt) return this.#streams;
    this.#lookAt = now + LOOK_MS;
    const file = streamsFileOf(this.#config);
    const version = file === undefined ? this.#config.STREAMS : versionOfFile(file);
    if (version !== this.#version) this.#streams = this.#readStreams();
    this.#version = version;
    return this.#streams;
  }

  /** Streams whose objects are followed. */
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
      // Whoever asks for a scene is told.
      if (error instanceof StreamsError || error instanceof ConfigError) return undefined;
      throw error;
    }
  }

  /**
   * Zones, lines and rules of a stream, as the list has them now.
   * @throws ConfigError; StreamsError when the list can't be read, or this stream in it
   */
  scene(streamId: string): StreamScene {
    const { zones = {}, lines = {}, events = [], filters } = this.config(streamId) ?? {};
    const excluded = filters?.exclude ?? [];
    return { zones, lines, rules: events, excluded, writable: streamsFileOf(this.#config) !== undefined };
  }

  /** The whole scene of a stream, where it has one. @throws as {@link StreamsFile.scene} */
  config(streamId: string): SceneConfig | undefined {
    const streams = readStreamsText(this.#config);
    if (!streams) return undefined;
    const { scenes, problems } = readScenes(streams.text, streams.where);
    const wrong = problems.filter(({ id }) => id === streamId).map(({ text }) => text);
    if (wrong.length > 0) throw new StreamsError(`${streams.where}: ${wrong.join('; ')}`);
    return scenes.get(streamId);
  }

  /**
   * Puts a zone or a line into the file. A reader sees the file as it was or as it is, never half of it.
   * @throws ConfigError when there is no file or it can't be written, StreamsError for what can't be used
   */
  put(streamId: string, shape: Shape): void {
    this.change((text, where) => putShape(text, streamId, shape, where));
  }

  /**
   * The scene as it would be with a zone or a line put into it. The list stays as it is.
   * @throws ConfigError when there is no list, StreamsError for what can't be used
   */
  sceneWith(streamId: string, shape: Shape): SceneConfig {
    return this.sceneAfter(streamId, (text, where) => putShape(text, streamId, shape, where));
  }

  /** The same for any change that puts something into a stream's scene. */
  sceneAfter(streamId: string, edit: (text: string, where: string) => string): SceneConfig {
    const list = this.text();
    if (!list) throw new ConfigError('there is no list of streams: set STREAMS_FILE');
    // A stream that the list lacks is refused by the change.
    return parseScenes(edit(list.text, list.where), list.where).get(streamId) as SceneConfig;
  }

  /**
   * Takes a zone or a line out of the file, and the rules that tell of it.
   * @throws ConfigError when there is no file or it can't be written, StreamsError when it isn't there or is needed
   */
  remove(streamId: string, shape: Pick<Shape, 'kind' | 'name'>): void {
    this.change((text, where) => removeShape(text, streamId, shape, where));
  }

  /**
   * Changes the list.
   * @param version of the text that the change was made for, as {@link StreamsFile.text} gives it; left out, the newest
   * @throws ConfigError, StreamsError; StaleError when the list has changed meanwhile
   */
  change(edit: (text: string, where: string) => string, version?: string): void {
    changeStreamsText(this.#config, edit, version);
    this.#lookAt = 0;
  }

  /** The list as it is now; `undefined` where there is none. @throws ConfigError */
  text(): { text: string; where: string; version: string } | undefined {
    const streams = readStreamsText(this.#config);
    return streams && { ...streams, version: versionOfText(streams.text) };
  }

  /** Whether the list can be changed: it is a file. */
  get isWritable(): boolean {
    return streamsFileOf(this.#config) !== undefined;
  }
}
