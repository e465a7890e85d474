import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing, type ListedObject, type Reader } from '@video-pipeline/storage';

const READS = 16;
/** Bytes of the tables that are kept on the disk. */
const MAX_BYTES = 1024 ** 3;

interface Kept {
  etag: string;
  path: string;
  bytes: number;
}

/** Objects as files on the disk, fetched once while they don't change. */
export class FileCache {
  readonly #bucket: Pick<Reader, 'read'>;
  readonly #folder: string;
  readonly #files = new Map<string, Promise<Kept | undefined>>();
  #count = 0;
  #bytes = 0;

  constructor(bucket: Pick<Reader, 'read'>, folder: string) {
    this.#bucket = bucket;
    this.#folder = folder;
  }

  /** Paths of the objects, without those that are gone. */
  async paths(objects: readonly ListedObject[], signal: AbortSignal): Promise<string[]> {
    const paths: string[] = [];
    for (let first = 0; first < objects.length; first += READS) {
      signal.throwIfAborted();
      const some = objects.slice(first, first + READS).map((object) => this.#file(object));
      for (const kept of await Promise.all(some)) if (kept) paths.push(kept.path);
    }
    await this.#makeRoom(new Set(objects.map(({ key }) => key)));
    return paths;
  }

  async #file(object: ListedObject): Promise<Kept | undefined> {
    const { key, etag } = object;
    const before = this.#files.get(key);
    if ((await before?.catch(() => undefined))?.etag === etag) return before;
    const fetched = this.#fetch(object);
    this.#files.delete(key);
    this.#files.set(key, fetched);
    fetched.catch(() => this.#files.delete(key));
    return fetched;
  }

  /** A changed object gets another path: a question that is being answered may still read the former. */
  async #fetch({ key, etag }: ListedObject): Promise<Kept | undefined> {
    try {
      const body = await this.#bucket.read(key);
      const path = join(this.#folder, `file-${this.#count++}.parquet`);
      await writeFile(path, body);
      this.#bytes += body.length;
      return { etag, path, bytes: body.length };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #makeRoom(used: ReadonlySet<string>): Promise<void> {
    for (const [key, file] of this.#files) {
      if (this.#bytes <= MAX_BYTES) return;
      if (used.has(key)) continue;
      this.#files.delete(key);
      const kept = await file.catch(() => undefined);
      if (!kept) continue;
      this.#bytes -= kept.bytes;
      await rm(kept.path, { force: true });
    }
  }
}
