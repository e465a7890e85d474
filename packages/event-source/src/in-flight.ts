import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type MSKRecord, positionOf } from '@video-pipeline/frame';
import { signalProcess } from '@video-pipeline/lifecycle';

/** Default folder of the notes. */
export const NOTES_FOLDER = join(tmpdir(), 'video-pipeline-in-progress');

/** A record that a process was working on when it ended. */
interface Suspect {
  /** How often a process ended so. */
  ends: number;
  /** How often it was the only record in work then. */
  lone: number;
}

/** The file that a process leaves on the disk when it crashes. */
interface CrashNote {
  /** Bootstrap servers: offsets of another cluster mean nothing here. */
  cluster: string;
  work: string[][];
  suspects: [position: string, suspect: Suspect][];
  /** Member id of the process in its consumer group. */
  member?: string | undefined;
}

/**
 * A record is put into failed/ when this many processes ended while they worked on it alone. Two are no proof: after an
 * end the same record comes first again, so two kills from outside in a row hit the same record.
 */
const MAX_CRASHES_ALONE = 3;
/**
 * How long records are delivered one by one after a crash, milliseconds. The suspects may have gone to another process.
 * Then this process never learns that they are done.
 */
const ONE_BY_ONE_MS = 2 * 60_000;

/**
 * Notes which records are in work, in a file that outlives this process. After a crash, by a lack of memory or a fault
 * in native code, the next process knows which records were in work. It delivers those one at a time, to find the
 * record that causes the crash.
 */
export class InFlightRecords {
  readonly #file: string;
  readonly #cluster: string;
  readonly #work = new Set<string[]>();
  readonly #suspects = new Map<string, Suspect>();
  readonly #until = performance.now() + ONE_BY_ONE_MS;
  #member: string | undefined;
  /** Members of the group whose processes have ended without leaving it. */
  readonly formerMembers: string[] = [];

  /**
   * Takes over the notes of processes of the same group that have ended.
   * @param folder created where it is missing
   */
  constructor(folder: string, group: string, cluster: string) {
    makeFolder(folder);
    const name = `${encodeURIComponent(group)}.`;
    this.#cluster = cluster;
    this.#file = join(folder, `${name}${process.pid}.json`);
    for (const file of readdirSync(folder)) {
      const pid = Number(/^(\d+)\.json$/.exec(file.startsWith(name) ? file.slice(name.length) : '')?.[1]);
      // In a container, the former process had the same id.
      if (!pid || (pid !== process.pid && signalProcess(pid, 0))) continue;
      this.#takeOver(readNote(join(folder, file)));
      rmSync(join(folder, file), { force: true });
    }
    if (this.#suspects.size > 0) this.#write();
  }

  /** Whether records are to be delivered one at a time, and no two of them at once. */
  get isOneByOne(): boolean {
    return this.#suspects.size > 0 && performance.now() < this.#until;
  }

  /** Why the record must not be delivered again; undefined if it may. */
  crashReason(record: MSKRecord): string | undefined {
    const suspect = this.#suspects.get(positionOf(record));
    if (!suspect || suspect.lone < MAX_CRASHES_ALONE) return undefined;
    return `the process ended ${suspect.ends} times while it worked on this record`;
  }

  /** Does the work, and notes its records while it runs. Even if it fails, the process has survived it. */
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

  /** Notes that these records are done with, and so is everything before them in their partitions. */
  forget(positions: readonly string[]): void {
    for (const [partition, offset] of positions.map(partitionAndOffset)) {
      for (const suspect of this.#suspects.keys()) {
        const [ofSuspect, at] = partitionAndOffset(suspect);
        if (ofSuspect === partition && at <= offset) this.#suspects.delete(suspect);
      }
    }
    this.#write();
  }

  /** Notes this process's member id: if it is killed, or can't reach a broker, it ends without leaving the group. */
  joinAs(member: string): void {
    this.#member = member;
    this.#write();
  }

  /** Notes that this process ends on purpose. */
  close(): void {
    this.#work.clear();
    this.#write();
  }

  #takeOver(note: CrashNote | undefined): void {
    if (note?.cluster !== this.#cluster) return;
    if (note.member) this.formerMembers.push(note.member);
    for (const [position, suspect] of note.suspects) this.#suspects.set(position, suspect);
    const alone = note.work.flat().length === 1 ? 1 : 0;
    for (const position of note.work.flat()) {
      const { ends, lone } = this.#suspects.get(position) ?? { ends: 0, lone: 0 };
      this.#suspects.set(position, { ends: ends + 1, lone: (lone ?? 0) + alone });
    }
  }

  /** If the file can't be written, as on a full disk, only the note is lost: the work goes on. */
  #write(): void {
    const [work, suspects, member] = [[...this.#work], [...this.#suspects], this.#member];
    const note: CrashNote = { cluster: this.#cluster, work, suspects, member };
    const isEmpty = work.length === 0 && suspects.length === 0 && !member;
    try {
      makeFolder(dirname(this.#file));
      if (isEmpty) rmSync(this.#file, { force: true });
      else writeFileSync(this.#file, JSON.stringify(note), { mode: 0o600 });
    } catch {
      // Without a note, the next process does not know what this one was working on.
    }
  }
}

function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
}

/** `topic-partition` and the offset of a position. */
function partitionAndOffset(position: string): [partition: string, offset: number] {
  const at = position.lastIndexOf('-');
  return [position.slice(0, at), Number(position.slice(at + 1))];
}

/** @returns nothing for a file that was not written to its end */
function readNote(file: string): CrashNote | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
