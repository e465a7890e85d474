import { cached } from './cached.ts';
import type { Reader } from './reader.ts';
import { createReader } from './s3-reader.ts';
import type { StorageSettings } from './store.ts';

const FORM = /^s3:\/\/([^/]+)\/(.+)$/;

/** Whether a file's name is the URL of an object in a bucket: `s3://bucket/key`. */
export const isObjectUrl = (file: string | undefined): file is string =>
  file !== undefined && FORM.test(file);

/**
 * The text of an object that others may change, such as the list of streams on AWS.
 * @param url `s3://bucket/key`
 * @param options.everyMs shortest time between two reads, milliseconds
 * @param options.onError called when a later read fails; the former text stays in use
 * @returns a function that gives the text; it throws as long as no read has succeeded
 */
export function followText(
  url: string,
  settings: Pick<StorageSettings, 'AWS_REGION' | 'AWS_ENDPOINT_URL'>,
  options: { everyMs: number; onError: (error: Error) => void; reader?: Pick<Reader, 'read'> },
): () => Promise<string> {
  const [, bucket = '', key = ''] = FORM.exec(url) ?? [];
  const reader = options.reader ?? createReader({ ...settings, S3_BUCKET: bucket });
  let text: string | undefined;
  const read = cached(async (name: string) => {
    try {
      text = (await reader.read(name)).toString();
    } catch (cause) {
      const error = new Error(`can't read ${url}`, { cause });
      if (text === undefined) throw error;
      options.onError(error);
    }
    return text;
  }, options.everyMs);
  return () => read(key);
}
