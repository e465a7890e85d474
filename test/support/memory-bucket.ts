import { NoSuchKey } from '@aws-sdk/client-s3';
import type { ListedObject, ListPage, PageOptions, StoredObject } from '@video-pipeline/storage';

/** A bucket in memory, whose clock the test sets. */
export class MemoryBucket {
  readonly objects = new Map<string, { body: Buffer; stored: number; etag: string }>();
  /** When the next object is stored, epoch ms. */
  now = 0;
  /** How often objects were read. */
  reads = 0;
  /** Called before each `put`; what it throws fails it. */
  beforePut: (key: string) => void = () => {};

  async page(prefix: string, { after = '', limit = 1000 }: PageOptions = {}): Promise<ListPage> {
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const objects = keys.slice(0, limit).map((key): ListedObject => {
      const { stored, etag } = this.objects.get(key) as { stored: number; etag: string };
      return { key, stored, etag };
    });
    const last = objects.at(-1);
    return keys.length > limit && last ? { objects, next: last.key } : { objects };
  }

  async read(key: string): Promise<Buffer> {
    this.reads++;
    const object = this.objects.get(key);
    if (!object) throw new NoSuchKey({ message: key, $metadata: {} });
    return object.body;
  }

  async put({ key, body }: Pick<StoredObject, 'key' | 'body'>): Promise<void> {
    this.beforePut(key);
    this.objects.set(key, { body: Buffer.from(body), stored: this.now, etag: `${this.now}-${key.length}` });
  }

  async folders(prefix: string): Promise<string[]> {
    const names = [...this.objects.keys()]
      .filter((key) => key.startsWith(prefix) && key.includes('/', prefix.length))
      .map((key) => key.slice(prefix.length, key.indexOf('/', prefix.length)));
    return [...new Set(names)];
  }
}
