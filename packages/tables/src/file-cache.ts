import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type FolderReader, inParallel, isMissing, type ListedObject } from '@video-pipeline/storage';

const READS = 16;
const REMEDY = "remove it and its day's manifests, and run compact with --all";

interface Kept {
  path: string;
  bytes: number;
}

/** The files that a query reads. They are kept until this is disposed of. */
export interface Files extends Disposable {
  /** Paths of the objects. Objects that are gone are left out. */
  paths(objects: readonly ListedObject[], signal: AbortSignal): Promise<string[]>;
}

/** Objects as files on the disk, fetched once for each version. Old files are removed when they take too much space. */
export class FileCache {
  readonly #bucket: Pick<FolderReader, 'save'>;
  readonly #folder: string;
  readonly #maxBytes: number;
  /** In the order of their last use, the last used at the end. */
  readonly #files = new Map<string, Promise<Kept | undefined>>();
  /** Names of the files of each query that runs. */
  readonly #used = new Set<ReadonlySet<string>>();
  #count = 0;
  #bytes = 0;

  /** @param maxBytes most bytes that are kept on the disk */
  constructor(bucket: Pick<FolderReader, 'save'>, folder: string, maxBytes: number) {
    this.#bucket = bucket;
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  /** For one query. */
  use(): Files {
    const names = new Set<string>();
    this.#used.add(names);
    return {
      paths: async (objects, signal) => {
        for (const object of objects) names.add(nameOf(object));
        const files = await inParallel(objects, READS, async (object) => {
          signal.throwIfAborted();
          return this.#file(object);
        });
        await this.#makeRoom();
        return files.flatMap((kept) => (kept ? [kept.path] : []));
      },
      [Symbol.dispose]: () => this.#used.delete(names),
    };
  }

  #file(object: ListedObject): Promise<Kept | undefined> {
    const name = nameOf(object);
    const file = this.#files.get(name) ?? this.#fetch(object);
    this.#files.delete(name);
    this.#files.set(name, file);
    // An object that is gone, or failed to load, is fetched again next time.
    file.then(
      (kept) => kept ?? this.#files.delete(name),
      () => this.#files.delete(name),
    );
    return file;
  }

  async #fetch({ key }: ListedObject): Promise<Kept | undefined> {
    const path = join(this.#folder, `file-${this.#count++}.parquet`);
    try {
      const bytes = await this.#bucket.save(key, path);
      if (!(await isParquet(path, bytes))) throw new Error(`${key} is no whole Parquet file: ${REMEDY}`);
      this.#bytes += bytes;
      return { path, bytes };
    } catch (error) {
      await rm(path, { force: true });
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #makeRoom(): Promise<void> {
    for (const [name, file] of this.#files) {
      if (this.#bytes <= this.#maxBytes) return;
      if ([...this.#used].some((names) => names.has(name))) continue;
      this.#files.delete(name);
      const kept = await file.catch(() => undefined);
      if (!kept) continue;
      this.#bytes -= kept.bytes;
      await rm(kept.path, { force: true });
    }
  }
}

/** The database would name its copy, not the object. */
async function isParquet(path: string, bytes: number): Promise<boolean> {
  await using file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(4), 0, 4, Math.max(0, bytes - 4));
  return buffer.toString() === 'PAR1';
}

function nameOf({ key, etag }: ListedObject): string {
  return `${etag} ${key}`;
}
