import type { Checkpoint, Position } from '@video-pipeline/frame';

/** The part of a batch that comes from one partition. */
export interface OffsetRange {
  /** `<topic>-<partition>` */
  source: string;
  /** Offsets of its first and last record. */
  first: number;
  last: number;
}

export function offsetRanges(records: readonly Position[]): Map<string, OffsetRange> {
  const spans = new Map<string, OffsetRange>();
  for (const { topic, partition, offset } of records) {
    const source = topicPartition({ topic, partition });
    const { first, last } = spans.get(source) ?? { first: offset, last: offset };
    spans.set(source, { source, first: Math.min(first, offset), last: Math.max(last, offset) });
  }
  return spans;
}

export function topicPartition({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}-${partition}`;
}

/** Batches that are kept in memory. A batch that is delivered again is seldom older than the last one. */
const MAX_BATCHES = 4;

/**
 * The state of each stream after its last batches. A batch that is delivered again starts from the same state as
 * before. Each batch may run in another process. So a state is valid only if the batch begins at an offset where a
 * batch in this process began or ended, with no gap since. A handler that timed out may go on beside later batches: of
 * a source, only the batch that was announced last adds states.
 */
export function createCheckpointCache() {
  /** By source: where its last batches began, and where the newest ended; ascending. */
  const boundaries = new Map<string, number[]>();
  const checkpoints = new Map<string, Checkpoint[]>();
  const current = new Map<string, OffsetRange>();
  const isCurrent = (span: OffsetRange) => current.get(span.source) === span;
  return {
    /** Announces the records of the next batch. Drops every state of the source that does not lead up to them. */
    startBatch(span: OffsetRange): void {
      const { source, first } = span;
      const before = (boundaries.get(source) ?? []).filter((offset) => offset <= first);
      const leadsHere = before.at(-1) === first;
      boundaries.set(source, leadsHere ? before : [first]);
      current.set(source, span);
      for (const [streamId, list] of checkpoints) {
        const kept = list.filter((one) => one.source !== source || (leadsHere && one.offset < first));
        checkpoints.set(streamId, kept);
      }
    },
    /** Notes that all states of the batch are added. */
    endBatch(span: OffsetRange): void {
      const { source, last } = span;
      if (isCurrent(span))
        boundaries.set(source, [...(boundaries.get(source) ?? []), last + 1].slice(-MAX_BATCHES));
    },
    /** The newest state of the stream from before the span; undefined when this process has none. */
    newest: (streamId: string, { source, first }: OffsetRange) =>
      checkpoints.get(streamId)?.findLast((one) => one.source === source && one.offset < first)?.state,
    /** Adds a state of the span that is newer than all before it. */
    add(streamId: string, checkpoint: Checkpoint, span: OffsetRange): void {
      if (isCurrent(span))
        checkpoints.set(streamId, [...(checkpoints.get(streamId) ?? []), checkpoint].slice(-MAX_BATCHES));
    },
  };
}
