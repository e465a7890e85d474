/** Where a page of a search ended: in this object, after `skip` of its matches. */
export interface Cursor {
  /** `date=.../hour=..` */
  hour: string;
  stored: number;
  key: string;
  skip: number;
}

/** A cursor that did not come from here. */
export class CursorError extends Error {
  override readonly name = 'CursorError';
}

export function encodeCursor({ hour, stored, key, skip }: Cursor): string {
  return Buffer.from(JSON.stringify([hour, stored, key, skip])).toString('base64url');
}

/** @throws CursorError */
export function decodeCursor(text: string): Cursor {
  try {
    const [hour, stored, key, skip] = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (typeof hour === 'string' && typeof key === 'string' && stored >= 0 && skip >= 0) {
      return { hour, stored, key, skip };
    }
  } catch {
    // told below
  }
  throw new CursorError('cursor is not one that a search gave');
}

/** Whether an object of the cursor's hour, or of an earlier one, is still to be read. Newest are read first. */
export function afterCursor(object: { key: string; stored: number }, cursor: Cursor): boolean {
  if (!object.key.includes(`/${cursor.hour}/`)) return true;
  return object.stored < cursor.stored || (object.stored === cursor.stored && object.key <= cursor.key);
}
