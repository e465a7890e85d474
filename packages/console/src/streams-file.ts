import { chmodSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type Config, ConfigError, readStreamsText, streamsFileOf } from '@video-pipeline/config';
import { parseScenes, putShape, removeShape, type Shape } from '@video-pipeline/scene';
import type { StreamScene } from './api.ts';

/** The list of streams that the pipeline runs on, as far as it says what the pictures mean. */
export class StreamsFile {
  readonly #config: Config<'STREAMS' | 'STREAMS_FILE'>;

  constructor(config: Config<'STREAMS' | 'STREAMS_FILE'>) {
    this.#config = config;
  }

  /**
   * Zones, lines and rules of a stream, as the list has them now.
   * @throws ConfigError, StreamsError
   */
  scene(streamId: string): StreamScene {
    const streams = readStreamsText(this.#config);
    const { zones, lines, events } = (streams && parseScenes(streams.text, streams.where).get(streamId)) ?? {
      zones: {},
      lines: {},
      events: [],
    };
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
