import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { ConfigError } from '@video-pipeline/config';

/**
 * The token in a file. If the file does not exist, it is created with a token of 192 random bits.
 * @throws ConfigError when it can't be read or written, or is empty
 */
export function readOrCreateToken(path: string): string {
  try {
    writeFileSync(path, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new ConfigError(`CONSOLE_TOKEN_FILE: can't write '${path}'`, { cause });
  }
  const token = readToken(path);
  if (token === '')
    throw new ConfigError(`CONSOLE_TOKEN_FILE: '${path}' is empty: delete it, or write a token to it`);
  return token;
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw new ConfigError(`CONSOLE_TOKEN_FILE: can't read '${path}'`, { cause });
  }
}
