import { inParallel, type ListedObject } from '@video-pipeline/storage';
import type { Files, Wanted } from './file-cache.ts';
import type { RowGroup } from './footer.ts';
import { LISTINGS, type Range, spansOf } from './listings.ts';

/** Lowest cost of a row, bytes: the database reads a row in the same time as this many bytes of columns. */
export const ROW_BYTES = 24;
/** A page covers at least this much time, milliseconds. */
const MIN_MS = 300_000;

/** When frames of a row group were captured, epoch ms. */
export function timesOf({ bounds }: Pick<RowGroup, 'bounds'>): Range {
  const [min, max] = bounds.get('captured_at') ?? [];
  if (min?.length !== 8 || max?.length !== 8)
    return { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };
  return { from: Number(min.readBigInt64LE()), to: Number(max.readBigInt64LE()) + 1 };
}

/** Whether a row group may have frames of the stream. Bounds may be cut within a character, and are sorted by bytes. */
export function mayContainStream({ bounds }: Pick<RowGroup, 'bounds'>, streamId: string): boolean {
  const [min, max] = bounds.get('stream_id') ?? [];
  const id = Buffer.from(streamId);
  return !min || !max || (id.compare(min) >= 0 && id.compare(max) <= 0);
}

/** The files of a table, and what a query reads from them. */
interface TableRead {
  objects: readonly ListedObject[];
  wanted: Wanted;
}

/**
 * Finds the latest part of a range of which at most `bytes` bytes are wanted. It always has the newest five minutes.
 * Footers of files that end earlier are not read.
 * @returns the start of that part, and how many bytes of it are wanted, up to the limit
 */
export async function fittingFrom(
  files: Pick<Files, 'groups'>,
  tables: readonly TableRead[],
  range: Range,
  bytes: number,
  signal: AbortSignal,
): Promise<{ from: number; bytes: number }> {
  const spans = tables
    .flatMap(({ objects, wanted }) => spansOf(objects, range).map((span) => ({ ...span, wanted })))
    .sort((a, b) => b.to - a.to);
  const parts: { until: number; bytes: number }[] = [];
  let sum = 0;
  let first = 0;
  for (; first < spans.length; first += LISTINGS) {
    const next = spans.slice(first, first + LISTINGS);
    // All files that reach the end of the range are read: each may hold the newest frames.
    if (sum > bytes && !next.some(({ to }) => to >= range.to)) break;
    await inParallel(next, LISTINGS, async ({ object, wanted }) => {
      signal.throwIfAborted();
      for (const group of await files.groups(object, wanted, signal)) {
        const part = { until: Math.min(range.to, timesOf(group).to), bytes: costOf(group, wanted) };
        parts.push(part);
        sum += part.bytes;
      }
    });
  }
  const unread = spans[first];
  if (unread) parts.push({ until: unread.to, bytes: Number.POSITIVE_INFINITY });
  parts.sort((a, b) => b.until - a.until);
  let held = 0;
  const beyond = parts.find((part) => {
    held += part.bytes;
    return held > bytes;
  });
  if (!beyond) return { from: range.from, bytes: held };
  const newest = (parts[0] as { until: number }).until;
  return { from: Math.max(range.from, Math.min(beyond.until, newest - MIN_MS)), bytes };
}

function costOf({ rows, chunks }: RowGroup, { columns }: Wanted): number {
  const wanted = columns.flatMap((column) => chunks.get(column) ?? []);
  const bytes = wanted.reduce((sum, { length }) => sum + length, 0);
  return Math.max(rows * ROW_BYTES, bytes);
}
