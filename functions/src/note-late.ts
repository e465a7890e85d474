import { lateKey } from '@video-pipeline/frame';
import type { Store } from '@video-pipeline/storage';

/**
 * Notes an object that came late, so that the tables take it up. It comes after the object: a crash between the two
 * delivers the batch again.
 * @param at the time of what the object tells of, epoch ms
 */
export async function noteLate(
  { put }: Pick<Store, 'put'>,
  object: { key: string; body: string },
  at: number,
): Promise<void> {
  const key = lateKey(object, at);
  if (key) await put({ key, body: '', contentType: 'text/plain' });
}
