import { readFileSync } from 'node:fs';
import { type Config, ConfigError } from './config.ts';

/** The list of streams as the environment gives it, and the name of the variable or file it stands in, for errors. */
export interface StreamsText {
  text: string;
  where: string;
}

/** The file that holds the list of streams, where there is one that counts: STREAMS goes before it. */
export function streamsFileOf({
  STREAMS,
  STREAMS_FILE,
}: Config<'STREAMS' | 'STREAMS_FILE'>): string | undefined {
  return STREAMS === undefined ? STREAMS_FILE : undefined;
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
