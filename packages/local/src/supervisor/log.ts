import { closeSync, existsSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { withRemedy } from '@video-pipeline/lifecycle';

const MAX_BYTES = 5_000_000;

/** A log file of limited size: at 5 MB it is renamed to `<path>.1`, which is overwritten, and a new file begins. */
export class LogFile {
  readonly #path: string;
  #fd: number;
  #bytes: number;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'a');
    this.#bytes = statSync(path).size;
  }

  write(line: string): void {
    try {
      if (this.#bytes >= MAX_BYTES) this.#rotate();
      this.#bytes += writeSync(this.#fd, `${line}\n`);
    } catch {
      // On a full disk, or if the folder is gone, the line is lost. The service goes on.
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #rotate(): void {
    if (existsSync(this.#path)) renameSync(this.#path, `${this.#path}.1`);
    const next = openSync(this.#path, 'a');
    closeSync(this.#fd);
    this.#fd = next;
    this.#bytes = 0;
  }
}

/** The last error of a process as one line: the last line that looks like an error, otherwise the last line. */
export function errorIn(lines: readonly string[]): string {
  const texts = lines.map(readable).filter((line) => line !== '');
  const error = texts.findLast((line) => /error|exception|fatal|can't|cannot/i.test(line));
  return withRemedy(error ?? texts.at(-1) ?? 'it said nothing');
}

// A line of our logger is JSON. The lines of a stack trace do not help the user.
function readable(line: string): string {
  const text = line.trim();
  if (text.startsWith('at ') || text.startsWith('Node.js v') || text.includes('"CloudWatchMetrics"'))
    return '';
  if (!text.startsWith('{')) return text;
  try {
    const { level, message, stream, error } = JSON.parse(text);
    if (!message) return text;
    const details = [stream, error?.message ?? error].filter(Boolean).map((detail) => `: ${detail}`);
    return `${level === 'ERROR' ? 'error: ' : ''}${message}${details.join('')}`;
  } catch {
    return text;
  }
}
