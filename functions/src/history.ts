import type { Checkpoint, MSKEvent } from '@video-pipeline/frame';

/** The part of an event that comes from one partition. */
export interface Span {
  /** `<topic>-<partition>` */
  source: string;
  /** Offsets of its first and last record. */
  first: number;
  last: number;
}

export function spansOf(event: MSKEvent): Map<string, Span> {
  const spans = new Map<string, Span>();
  for (const { topic, partition, offset } of Object.values(event.records).flat()) {
    const source = sourceOf({ topic, partition });
    const { first, last } = spans.get(source) ?? { first: offset, last: offset };
    spans.set(source, { source, first: Math.min(first, offset), last: Math.max(last, offset) });
  }
  return spans;
}

export function sourceOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}-${partition}`;
}

/** Batches that can be gone back. One that is delivered again is seldom older than the last. */
const KEPT = 4;

/**
 * What was known of each stream after its last batches, so that a batch delivered again begins where it began
 * before. As every batch may run in another process, this memory holds only where a batch begins at an offset at which
 * one began or ended here, and all between was seen here.
 */
export class History {
  /** By source: where its last batches began, and where the newest ended; ascending. */
  readonly #boundaries = new Map<string, number[]>();
  readonly #checkpoints = new Map<string, Checkpoint[]>();

  /** Says which records come now. Everything is forgotten of the source that doesn't lead up to them. */
  enter({ source, first, last }: Span): void {
    const before = (this.#boundaries.get(source) ?? []).filter((offset) => offset <= first);
    const leadsHere = before.at(-1) === first;
    this.#boundaries.set(source, [...(leadsHere ? before : [first]), last + 1].slice(-KEPT));
    for (const [streamId, list] of this.#checkpoints) {
      const kept = list.filter((one) => one.source !== source || (leadsHere && one.offset < first));
      this.#checkpoints.set(streamId, kept);
    }
  }

  /** The newest state of the stream; undefined when it isn't known here. */
  newest(streamId: string, source: string): string | undefined {
    return this.#checkpoints.get(streamId)?.findLast((one) => one.source === source)?.state;
  }

  /** Remembers a state, newer than all before. */
  add(streamId: string, checkpoint: Checkpoint): void {
    this.#checkpoints.set(streamId, [...(this.#checkpoints.get(streamId) ?? []), checkpoint].slice(-KEPT));
  }
}
