import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@video-pipeline/telemetry';
import type { Detector } from './detector.ts';
import { cardPath } from './model-card.ts';

interface ModelSetOptions {
  /**
   * Loads one file; may reject.
   * @param onWeights to be called with each other file that it reads weights from, before it is read
   */
  load(path: string, onWeights: (file: string) => Promise<void>): Promise<Detector>;
  log: Pick<Logger, 'info' | 'error'>;
}

/** The models of a folder, kept up to date. A changed file is loaded beside the old model, and then replaces it. */
export class ModelSet {
  /** By model name, in alphabetic order; the first is the default one. */
  detectors: ReadonlyMap<string, Detector> = new Map();
  readonly #folder: string;
  readonly #options: ModelSetOptions;
  /** By path. */
  readonly #loaded = new Map<string, Detector>();
  /**
   * By path, the stamps of the model's files when it was last tried: its own, its card, and those of its weights. A
   * stamp is a file's size, time and inode. Another stamp means a change.
   */
  readonly #tried = new Map<string, Map<string, string>>();
  readonly #stopped = new AbortController();
  #watching: Promise<void> = Promise.resolve();

  private constructor(folder: string, options: ModelSetOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /**
   * Loads every `*.onnx` of `folder`. A file that can't be loaded is reported; the others are served.
   * @throws the error of the first file when no file can be loaded, Error when the folder holds no model
   */
  static async open(folder: string, options: ModelSetOptions): Promise<ModelSet> {
    const set = new ModelSet(folder, options);
    const failures = await set.rescan();
    if (set.#loaded.size > 0) return set;
    throw failures[0] ?? new Error(`${folder} holds no model (*.onnx)`);
  }

  /** Looks for changes every `everyMs`, until the set is closed. */
  watch(everyMs: number): void {
    this.#watching = this.#watch(everyMs);
  }

  /**
   * Applies the changes of the folder. A file that can't be loaded is reported, and its former model stays in service.
   * @returns the errors of files that can't be loaded
   */
  async rescan(): Promise<Error[]> {
    const paths = await this.#paths();
    const failures: Error[] = [];
    for (const path of paths) {
      if (!(await this.#isChanged(path))) continue;
      await this.#load(path).catch((error) => {
        this.#options.log.error(`can't load ${path}`, error);
        failures.push(error);
      });
    }
    for (const path of this.#tried.keys()) {
      const detector = this.#loaded.get(path);
      // The last model stays in service, even if its file is removed.
      if (paths.includes(path) || (detector && this.#loaded.size === 1)) continue;
      this.#tried.delete(path);
      if (!detector) continue;
      this.#loaded.delete(path);
      this.#publish();
      await detector.close();
    }
    return failures;
  }

  /** Waits for the work in progress, then ends all threads. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#watching;
    await Promise.all([...this.detectors.values()].map((detector) => detector.close()));
  }

  async #watch(everyMs: number): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await sleep(everyMs, undefined, { signal }).catch(() => {});
      // A network file system may be unavailable for a while.
      if (!signal.aborted)
        await this.rescan().catch((error) => this.#options.log.error('model folder', error));
    }
  }

  async #isChanged(path: string): Promise<boolean> {
    const stamps = this.#tried.get(path);
    if (!stamps) return true;
    for (const [file, stamp] of stamps) if ((await stampOf(file)) !== stamp) return true;
    return false;
  }

  async #load(path: string): Promise<void> {
    const stamps = new Map<string, string>();
    const note = async (file: string) => {
      if (!stamps.has(file)) stamps.set(file, await stampOf(file));
    };
    this.#tried.set(path, stamps);
    await note(path);
    await note(cardPath(path));
    const detector = await this.#options.load(path, note);
    const before = this.#loaded.get(path);
    this.#loaded.set(path, detector);
    this.#publish();
    const { version } = detector.model;
    this.#options.log.info('model loaded', { path, version, replaces: before?.model.version });
    await before?.close();
  }

  #publish(): void {
    const detectors = [...this.#loaded.values()];
    detectors.sort((a, b) => a.model.name.localeCompare(b.model.name));
    this.detectors = new Map(detectors.map((detector) => [detector.model.name, detector]));
  }

  async #paths(): Promise<string[]> {
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith('.onnx')).sort();
    return names.map((name) => join(this.#folder, name));
  }
}

/** A file that can't be read has a stamp too: the attempt to load it says why. */
function stampOf(path: string): Promise<string> {
  return stat(path).then(
    ({ size, mtimeMs, ino }) => `${size} ${mtimeMs} ${ino}`,
    ({ code }) => code,
  );
}
