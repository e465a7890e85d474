export class QueryError extends Error {
  override readonly name = 'QueryError';
}

/** Where a page ended: after this frame or, without a stream, before this time. */
export interface Cursor {
  captured_at: number;
  stream_id?: string;
  frame_number?: number;
}

export function encodeCursor({ captured_at, stream_id, frame_number }: Cursor): string {
  return Buffer.from(JSON.stringify([captured_at, stream_id, frame_number])).toString('base64url');
}

/** @returns `undefined` for a text that {@link encodeCursor} did not make */
export function decodeCursor(text: string): Cursor | undefined {
  try {
    const [captured_at, stream_id, frame_number] = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (!Number.isSafeInteger(captured_at)) return undefined;
    if (stream_id === null) return { captured_at };
    const isFrame = typeof stream_id === 'string' && Number.isSafeInteger(frame_number);
    return isFrame ? { captured_at, stream_id, frame_number } : undefined;
  } catch {
    return undefined;
  }
}

/** @throws QueryError */
export function cursorOf({ cursor }: { cursor?: string | undefined }): Cursor | undefined {
  const place = cursor === undefined ? undefined : decodeCursor(cursor);
  if (cursor !== undefined && !place) throw new QueryError('cursor is not one that a search gave');
  return place;
}

/** End of a page's range: where the page before it ended. */
export function endOf({ to }: { to: number }, cursor: Cursor | undefined): number {
  if (!cursor) return to;
  // Other frames of the same time may be left.
  return Math.min(to, cursor.stream_id === undefined ? cursor.captured_at : cursor.captured_at + 1);
}
