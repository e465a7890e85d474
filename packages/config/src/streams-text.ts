import { readFileSync } from 'node:fs';
import { type Config, ConfigError } from './config.ts';

/** The list of streams as the environment gives it, and the name of the variable or file it stands in, for errors. */
export interface StreamsText {
  text: string;
  where: string;
}

/**
 * Reads STREAMS, or the file that STREAMS_FILE names; undefined where neither is set.
 * @throws ConfigError when the file can't be read
 */
export function readStreamsText({
  STREAMS,
  STREAMS_FILE,
}: Config<'STREAMS' | 'STREAMS_FILE'>): StreamsText | undefined {
  if (STREAMS !== undefined) return { text: STREAMS, where: 'STREAMS' };
  if (STREAMS_FILE === undefined) return undefined;
  try {
    return { text: readFileSync(STREAMS_FILE, 'utf8'), where: STREAMS_FILE };
  } catch (cause) {
    throw new ConfigError(`STREAMS_FILE: can't read '${STREAMS_FILE}'`, { cause });
  }
}
