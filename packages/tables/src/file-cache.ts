import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type FolderReader, inParallel, isMissing, type ListedObject } from '@video-pipeline/storage';

const READS = 16;
/** Most bytes of the tables that are kept on the disk. */
const MAX_BYTES = 1024 ** 3;

interface Kept {
  path: string;
  bytes: number;
}

/**
 * Objects as files on the disk, fetched once for each version. A changed object becomes another file, since a query may
 * still read the former one. Old files are removed when they take too much space.
 */
export class FileCache {
  readonly #bucket: Pick<FolderReader, 'save'>;
  readonly #folder: string;
  readonly #files = new Map<string, Promise<Kept | undefined>>();
  #count = 0;
  #bytes = 0;

  constructor(bucket: Pick<FolderReader, 'save'>, folder: string) {
    this.#bucket = bucket;
    this.#folder = folder;
  }

  /** Paths of the objects. Objects that are gone are left out. */
  async paths(objects: readonly ListedObject[], signal: AbortSignal): Promise<string[]> {
    const files = await inParallel(objects, READS, async (object) => {
      signal.throwIfAborted();
      return this.#file(object);
    });
    await this.#makeRoom(new Set(objects.map(nameOf)));
    return files.flatMap((kept) => (kept ? [kept.path] : []));
  }

  #file(object: ListedObject): Promise<Kept | undefined> {
    const name = nameOf(object);
    const file = this.#files.get(name) ?? this.#fetch(object);
    this.#files.set(name, file);
    // An object that is gone, or failed to load, is fetched again next time.
    file.then(
      (kept) => kept ?? this.#files.delete(name),
      () => this.#files.delete(name),
    );
    return file;
  }

  async #fetch({ key }: ListedObject): Promise<Kept | undefined> {
    try {
      const path = join(this.#folder, `file-${this.#count++}.parquet`);
      const bytes = await this.#bucket.save(key, path);
      this.#bytes += bytes;
      return { path, bytes };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #makeRoom(used: ReadonlySet<string>): Promise<void> {
    for (const [name, file] of this.#files) {
      if (this.#bytes <= MAX_BYTES) return;
      if (used.has(name)) continue;
      this.#files.delete(name);
      const kept = await file.catch(() => undefined);
      if (!kept) continue;
      this.#bytes -= kept.bytes;
      await rm(kept.path, { force: true });
    }
  }
}

/** One version of an object. */
function nameOf({ key, etag }: ListedObject): string {
  return `${etag} ${key}`;
}
