import { HttpError } from './http-error.ts';

/** The bytes that begin a value or separate values in JSON. */
const STRUCTURE = Buffer.from('[{,');
/** Most such bytes in one request. A frame has four, and a picture in base64 has none. */
const MAX_STRUCTURE = 100_000;

/**
 * Refuses JSON that is nearly all structure. Parsing it takes a hundred times as long as a request of the same size
 * with pictures, and blocks all other requests meanwhile.
 * @throws HttpError 400
 */
export function refuseDenseJson(json: Buffer): void {
  let remaining = MAX_STRUCTURE;
  for (const byte of STRUCTURE) {
    for (let at = json.indexOf(byte); at >= 0; at = json.indexOf(byte, at + 1)) {
      if (--remaining < 0) throw new HttpError(400, `the JSON has over ${MAX_STRUCTURE} brackets and commas`);
    }
  }
}
