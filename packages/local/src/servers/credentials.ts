import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { devNull, homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Variables with which every AWS SDK and tool signs its requests. */
export interface S3Credentials {
  AWS_ACCESS_KEY_ID: string;
  AWS_SECRET_ACCESS_KEY: string;
}

/** For an S3 API that accepts any credentials, but only signed requests. */
const ANY: S3Credentials = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };

/**
 * The credentials of the local S3 API on `dataDir`, made at its first start. Without credentials, a form on a web page
 * could empty it, and a page whose name resolves to 127.0.0.1 could read it.
 */
export async function localCredentials(dataDir: string): Promise<S3Credentials> {
  // In the form for AWS_SHARED_CREDENTIALS_FILE.
  const file = join(dataDir, 'credentials');
  if (!existsSync(file)) await makeCredentials(file);
  const text = await readFile(file, 'utf8');
  const value = (key: string) => new RegExp(`^${key}\\s*=\\s*(\\S+)`, 'm').exec(text)?.[1];
  const [id, secret] = [value('aws_access_key_id'), value('aws_secret_access_key')];
  if (!id || !secret) throw new Error(`${file} has no key: remove it, and the next start makes a new one`);
  return { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret };
}

// Linked into place: of two starts at the same time, the second uses the file of the first.
async function makeCredentials(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const id = `LOCAL${randomBytes(8).toString('hex').toUpperCase()}`;
  const secret = randomBytes(30).toString('base64url');
  const own = `${file}.${randomUUID()}`;
  const text = `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`;
  await writeFile(own, text, { mode: 0o600 });
  await link(own, file).catch((error) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await rm(own);
}

/** Variables with credentials for an S3 API of the user's. None if the user has credentials, by variable or file. */
export function fallbackCredentials(): Partial<S3Credentials> {
  const { AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE } = process.env;
  const file = AWS_SHARED_CREDENTIALS_FILE || join(homedir(), '.aws', 'credentials');
  return AWS_ACCESS_KEY_ID || AWS_PROFILE || existsSync(file) ? {} : ANY;
}

/** Variables with which a process uses the S3 API at `url` with these credentials, and no other variables of AWS. */
export function s3Environment(url: string, credentials: S3Credentials): NodeJS.ProcessEnv {
  const others = Object.keys(process.env).filter((name) => /^AWS_(?!REGION$)/.test(name));
  return {
    ...Object.fromEntries(others.map((name) => [name, undefined])),
    AWS_CONFIG_FILE: devNull,
    AWS_SHARED_CREDENTIALS_FILE: devNull,
    AWS_ENDPOINT_URL: url,
    ...credentials,
  };
}
