import { lateKey } from '@video-pipeline/frame';
import type { MergedObject, MergingStore, Store, StoredObject } from '@video-pipeline/storage';

/**
 * Stores an object. If it is late, stores a note after it, so that the tables include it. After a crash between the
 * two, the batch is delivered again.
 * @param at when the object's frames were captured or its event happened, epoch ms
 */
export async function putWithNote(store: Store, object: StoredObject, at: number): Promise<void> {
  await store.put(object);
  await note(store, object, at);
}

/** The same for an object that is merged with the stored one. */
export async function mergeWithNote(store: MergingStore, object: MergedObject, at: number): Promise<void> {
  let body = '';
  const merge = (before?: string) => {
    body = object.merge(before);
    return body;
  };
  await store.merge({ ...object, merge });
  await note(store, { ...object, body }, at);
}

async function note(store: Store, object: Pick<StoredObject, 'key' | 'body'>, at: number): Promise<void> {
  const key = lateKey(object, at);
  if (key) await store.put({ key, body: '', contentType: 'text/plain' });
}
