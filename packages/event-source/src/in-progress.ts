import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MSKRecord, positionOf } from '@video-pipeline/frame';
import { signalProcess } from '@video-pipeline/lifecycle';

/** Where notes are kept unless told otherwise. */
export const NOTES_FOLDER = join(tmpdir(), 'video-pipeline-in-progress');

/** A record whose process ended while it worked on it. */
interface Suspect {
  /** How often. */
  ends: number;
  /** Whether it was the only one in work the last time. */
  alone: boolean;
}

/** What a process leaves behind when it ends without a word. */
interface Note {
  /** Brokers: offsets of others mean nothing here. */
  cluster: string;
  work: string[][];
  suspects: [position: string, suspect: Suspect][];
  /** What the process was called in its consumer group. */
  member?: string | undefined;
}

/** A record after whose work the process ended so often is put into failed/. */
const MAX_ENDS = 2;
/** How long records are delivered one by one after such an end, milliseconds: they may have become another process's. */
const WARY_MS = 2 * 60_000;

/**
 * Notes which records are in work, in a file that outlives this process: whatever ends it, a lack of memory or a fault in
 * native code, the next one knows what it was at. Records that were in work then are delivered one at a time, so that
 * the one that does it is found.
 */
export class InProgress {
  readonly #file: string;
  readonly #cluster: string;
  readonly #work = new Set<string[]>();
  readonly #suspects = new Map<string, Suspect>();
  readonly #until = performance.now() + WARY_MS;
  #member: string | undefined;
  /** Members of the group whose processes have ended without leaving it. */
  readonly formerMembers: string[] = [];

  /**
   * Takes over the notes of processes of the same group that are no more.
   * @param folder made where it is missing
   */
  constructor(folder: string, group: string, cluster: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const name = `${encodeURIComponent(group)}.`;
    this.#cluster = cluster;
    this.#file = join(folder, `${name}${process.pid}.json`);
    for (const file of readdirSync(folder)) {
      const pid = Number(/^(\d+)\.json$/.exec(file.startsWith(name) ? file.slice(name.length) : '')?.[1]);
      // In a container every process has the same number.
      if (!pid || (pid !== process.pid && signalProcess(pid, 0))) continue;
      this.#takeOver(readNote(join(folder, file)));
      rmSync(join(folder, file), { force: true });
    }
    if (this.#suspects.size > 0) this.#write();
  }

  /** Whether records are to be delivered one at a time, and no two of them at once. */
  get isWary(): boolean {
    return this.#suspects.size > 0 && performance.now() < this.#until;
  }

  /** Why the record is not to be delivered again, if it isn't. */
  verdict(record: MSKRecord): string | undefined {
    const suspect = this.#suspects.get(positionOf(record));
    if (!suspect?.alone || suspect.ends < MAX_ENDS) return undefined;
    return `its process ended ${suspect.ends} times while it worked on it`;
  }

  /** Does the work; what it is about is noted meanwhile. However it comes out, the process has survived it. */
  async during<Result>(records: readonly MSKRecord[], work: () => Promise<Result>): Promise<Result> {
    const positions = records.map(positionOf);
    this.#work.add(positions);
    this.#write();
    try {
      return await work();
    } finally {
      this.#work.delete(positions);
      this.forget(positions);
    }
  }

  /** Says that these are done with, and so is what comes before them in their partitions. */
  forget(positions: readonly string[]): void {
    for (const [partition, offset] of positions.map(placeOf)) {
      for (const suspect of this.#suspects.keys()) {
        const [ofSuspect, at] = placeOf(suspect);
        if (ofSuspect === partition && at <= offset) this.#suspects.delete(suspect);
      }
    }
    this.#write();
  }

  /** Says what this process is called in its group: killed, or with no broker to tell, it ends without leaving it. */
  joinAs(member: string): void {
    this.#member = member;
    this.#write();
  }

  /** Says that this process ends on purpose. */
  close(): void {
    this.#work.clear();
    this.#write();
  }

  #takeOver(note: Note | undefined): void {
    if (note?.cluster !== this.#cluster) return;
    if (note.member) this.formerMembers.push(note.member);
    for (const [position, suspect] of note.suspects) this.#suspects.set(position, suspect);
    const alone = note.work.flat().length === 1;
    for (const position of note.work.flat()) {
      this.#suspects.set(position, { ends: (this.#suspects.get(position)?.ends ?? 0) + 1, alone });
    }
  }

  #write(): void {
    const [work, suspects, member] = [[...this.#work], [...this.#suspects], this.#member];
    const note: Note = { cluster: this.#cluster, work, suspects, member };
    if (work.length === 0 && suspects.length === 0 && !member) rmSync(this.#file, { force: true });
    else writeFileSync(this.#file, JSON.stringify(note), { mode: 0o600 });
  }
}

/** `topic-partition` and the offset of a position. */
function placeOf(position: string): [partition: string, offset: number] {
  const at = position.lastIndexOf('-');
  return [position.slice(0, at), Number(position.slice(at + 1))];
}

/** @returns nothing for a file that was not written to its end */
function readNote(file: string): Note | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
