import { chmodSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type Config, ConfigError, readStreamsText, streamsFileOf } from '@video-pipeline/config';
import { isStreamId } from '@video-pipeline/frame';
import { putShape, readScenes, removeShape, type Shape, StreamsError } from '@video-pipeline/scene';
import type { StreamScene } from './api.ts';

/** So often it is looked whether the list has changed. */
const LOOK_MS = 1_000;

/** The list of streams that the pipeline runs on, as far as it says what the pictures mean. */
export class StreamsFile {
  readonly #config: Config<'STREAMS' | 'STREAMS_FILE'>;
  #ids: ReadonlySet<string> | undefined;
  #version = '';
  #lookAt = 0;

  constructor(config: Config<'STREAMS' | 'STREAMS_FILE'>) {
    this.#config = config;
  }

  /** The streams that the list has, also those that are wrong; `undefined` where there is no list, or none to be read. */
  ids(now = performance.now()): ReadonlySet<string> | undefined {
    if (now < this.#lookAt) return this.#ids;
    this.#lookAt = now + LOOK_MS;
    const version = versionOf(streamsFileOf(this.#config));
    if (version !== this.#version) this.#ids = this.#readIds();
    this.#version = version;
    return this.#ids;
  }

  #readIds(): ReadonlySet<string> | undefined {
    try {
      const streams = readStreamsText(this.#config);
      if (!streams) return undefined;
      const { scenes, problems } = readScenes(streams.text, streams.where);
      return new Set([...scenes.keys(), ...problems.flatMap(({ id = '' }) => (isStreamId(id) ? [id] : []))]);
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
    const streams = readStreamsText(this.#config);
    const { scenes, problems } = streams
      ? readScenes(streams.text, streams.where)
      : { scenes: new Map<string, undefined>(), problems: [] };
    const wrong = problems.filter(({ id }) => id === streamId).map(({ text }) => text);
    if (wrong.length > 0) throw new StreamsError(`${streams?.where}: ${wrong.join('; ')}`);
    const { zones, lines, events } = scenes.get(streamId) ?? { zones: {}, lines: {}, events: [] };
    return { zones, lines, rules: events, writable: streamsFileOf(this.#config) !== undefined };
  }

  /**
   * Puts a zone or a line into the file. A reader sees the file as it was or as it is, never half of it.
   * @throws ConfigError when there is no file or it can't be written, StreamsError for what can't be used
   */
  put(streamId: string, shape: Shape): void {
    this.#change((text, where) => putShape(text, streamId, shape, where));
  }

  /**
   * Takes a zone or a line out of the file, and the rules that tell of it.
   * @throws ConfigError when there is no file or it can't be written, StreamsError when it isn't there or is needed
   */
  remove(streamId: string, shape: Pick<Shape, 'kind' | 'name'>): void {
    this.#change((text, where) => removeShape(text, streamId, shape, where));
  }

  #change(edit: (text: string, where: string) => string): void {
    const path = streamsFileOf(this.#config);
    const streams = readStreamsText(this.#config);
    if (path === undefined || !streams)
      throw new ConfigError('STREAMS_FILE must name the file to write zones and lines to');
    const text = edit(streams.text, streams.where);
    try {
      replaceFile(path, text);
    } catch (cause) {
      throw new ConfigError(`STREAMS_FILE: can't write '${path}'`, { cause });
    }
  }
}

/** What differs once a file was written or another one put in its place; the same for what is no file. */
function versionOf(file: string | undefined): string {
  const is = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false });
  return is ? `${is.ino} ${is.mtimeMs} ${is.size}` : 'none';
}

/** Writes beside the file and then takes its place; a link goes on pointing there, and who may read it stays. */
function replaceFile(path: string, text: string): void {
  const target = realpathSync(path);
  const draft = `${target}.${process.pid}.tmp`;
  try {
    // It may hold passwords of cameras.
    writeFileSync(draft, text, { mode: 0o600, flush: true });
    chmodSync(draft, statSync(target).mode);
    renameSync(draft, target);
  } finally {
    rmSync(draft, { force: true });
  }
}
