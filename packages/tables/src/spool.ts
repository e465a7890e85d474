import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Characters that are collected before a write. */
const PIECE = 64 * 1024;

/** Text of any length that waits on the disk until it is needed. */
export class Spool implements AsyncDisposable {
  readonly #file: FileHandle;
  #waiting: string[] = [];
  #length = 0;
  #size = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(): Promise<Spool> {
    const path = join(tmpdir(), `video-pipeline-export-${randomUUID()}`);
    const file = await open(path, 'wx+', 0o600);
    // Without a name, the file disappears when the process ends, even by a crash.
    await rm(path);
    return new Spool(file);
  }

  async write(text: string): Promise<void> {
    this.#waiting.push(text);
    this.#length += text.length;
    if (this.#length >= PIECE) await this.#flush();
  }

  /** Bytes written. */
  async size(): Promise<number> {
    await this.#flush();
    return this.#size;
  }

  /** All text that was written, from the beginning. */
  async *read(): AsyncGenerator<Buffer> {
    await this.#flush();
    yield* this.#file.createReadStream({ start: 0, autoClose: false });
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#length = 0;
    await this.#file.appendFile(bytes);
    this.#size += bytes.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/** The same text in pieces of at least {@link PIECE} characters. Buffers are passed on as they are. */
export async function* inPieces(parts: AsyncIterable<string | Buffer>): AsyncGenerator<string | Buffer> {
  let text = '';
  for await (const part of parts) {
    if (typeof part === 'string') text += part;
    if (text && (typeof part !== 'string' || text.length >= PIECE)) {
      yield text;
      text = '';
    }
    if (typeof part !== 'string') yield part;
  }
  if (text) yield text;
}
