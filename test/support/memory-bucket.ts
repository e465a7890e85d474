import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { NoSuchKey } from '@aws-sdk/client-s3';
import type {
  ListedObject,
  ListPage,
  MergedObject,
  PageOptions,
  Part,
  StoredObject,
  VersionedStore,
} from '@video-pipeline/storage';

/** A bucket in memory, whose clock the test sets. */
export class MemoryBucket implements VersionedStore {
  readonly objects = new Map<string, { body: Buffer; stored: number; etag: string }>();
  /** When the next object is stored, epoch ms. */
  now = 0;
  /** How often objects were read. */
  reads = 0;
  /** Called before each `put`. An error that it throws fails the `put`. */
  beforePut: (key: string) => void = () => {};

  async page(prefix: string, { after = '', limit = 1000 }: PageOptions = {}): Promise<ListPage> {
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const objects = keys.slice(0, limit).map((key): ListedObject => {
      const { stored, etag, body } = this.objects.get(key) as { stored: number; etag: string; body: Buffer };
      return { key, stored, etag, size: body.length };
    });
    const last = objects.at(-1);
    return keys.length > limit && last ? { objects, next: last.key } : { objects };
  }

  async read(key: string, part?: Part): Promise<Buffer> {
    this.reads++;
    const object = this.objects.get(key);
    if (!object) throw new NoSuchKey({ message: key, $metadata: {} });
    if (!part || !('offset' in part)) return object.body;
    if (part.etag !== undefined && part.etag !== object.etag)
      throw Object.assign(new Error(key), { name: 'PreconditionFailed' });
    return object.body.subarray(part.offset, part.offset + part.length);
  }

  async save(key: string, path: string): Promise<number> {
    const body = await this.read(key);
    await writeFile(path, body);
    return body.length;
  }

  async put({ key, body }: Pick<StoredObject, 'key' | 'body'>): Promise<void> {
    this.beforePut(key);
    const etag = createHash('md5').update(body).digest('hex');
    this.objects.set(key, { body: Buffer.from(body), stored: this.now, etag });
  }

  async putOver(object: StoredObject, etag: string | undefined): Promise<boolean> {
    await turn();
    if (this.objects.get(object.key)?.etag !== etag) return false;
    await this.put(object);
    return true;
  }

  async merge({ key, contentType, merge }: MergedObject): Promise<void> {
    for (let done = false; !done; ) {
      const before = this.objects.get(key);
      done = await this.putOver({ key, contentType, body: merge(before?.body.toString()) }, before?.etag);
    }
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.objects.delete(key);
  }

  async folders(prefix: string): Promise<string[]> {
    const names = [...this.objects.keys()]
      .filter((key) => key.startsWith(prefix) && key.includes('/', prefix.length))
      .map((key) => key.slice(prefix.length, key.indexOf('/', prefix.length)));
    return [...new Set(names)];
  }
}
