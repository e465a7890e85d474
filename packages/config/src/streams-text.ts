import { createHash, randomUUID } from 'node:crypto';
import { chmodSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type Config, ConfigError } from './config.ts';

/** The list of streams, and for errors the variable or file that it was read from. */
export interface StreamsText {
  text: string;
  where: string;
}

/** The file with the list of streams, if it is used: STREAMS takes precedence over it. */
export function streamsFileOf(config: Config<'STREAMS' | 'STREAMS_FILE'>): string | undefined {
  return config.STREAMS === undefined ? config.STREAMS_FILE : undefined;
}

/**
 * Reads STREAMS, or the file that STREAMS_FILE names; undefined where neither is set.
 * @throws ConfigError when the file can't be read
 */
export function readStreamsText(config: Config<'STREAMS' | 'STREAMS_FILE'>): StreamsText | undefined {
  if (config.STREAMS !== undefined) return { text: config.STREAMS, where: 'STREAMS' };
  const file = streamsFileOf(config);
  if (file === undefined) return undefined;
  try {
    return { text: readFileSync(file, 'utf8'), where: file };
  } catch (cause) {
    throw new ConfigError(`STREAMS_FILE: can't read '${file}'`, { cause });
  }
}

/** A version that changes when the file is written or replaced; always the same if there is no file. */
export function versionOfFile(file: string): string {
  const { ino, mtimeMs, size } = statSync(file, { throwIfNoEntry: false }) ?? {};
  return [ino, mtimeMs, size].join();
}

/** The list of streams has changed since it was read for an edit. */
export class StaleError extends Error {
  override readonly name = 'StaleError';
}

/** The version of a list of streams: a hash of its text. */
export function versionOfText(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 16);
}

/**
 * Changes the file with the list of streams. A reader sees the old text or the new one, never half of it.
 * @param version of the text that the edit is for; left out, the newest text is edited
 * @throws ConfigError when there is no file or it can't be written; StaleError
 */
export function changeStreamsText(
  config: Config<'STREAMS' | 'STREAMS_FILE'>,
  edit: (text: string, where: string) => string,
  version?: string,
): void {
  const path = streamsFileOf(config);
  const streams = readStreamsText(config);
  if (path === undefined || !streams)
    throw new ConfigError('STREAMS_FILE must name the file to write zones and lines to');
  if (version !== undefined && version !== versionOfText(streams.text))
    throw new StaleError('the list of streams has changed meanwhile: look at it again');
  const text = edit(streams.text, streams.where);
  try {
    replaceFile(path, text);
  } catch (cause) {
    throw new ConfigError(`STREAMS_FILE: can't write '${path}'`, { cause });
  }
}

/** Writes a new file next to it and renames that. A symbolic link keeps pointing to the file, and its mode stays. */
function replaceFile(path: string, text: string): void {
  const target = realpathSync(path);
  const draft = `${target}.${randomUUID()}.tmp`;
  try {
    // Mode 600, since it may hold passwords of cameras.
    writeFileSync(draft, text, { mode: 0o600, flush: true });
    chmodSync(draft, statSync(target).mode);
    renameSync(draft, target);
  } finally {
    rmSync(draft, { force: true });
  }
}
