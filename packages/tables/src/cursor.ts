/** The query is not valid. */
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
