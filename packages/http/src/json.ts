import { HttpError } from './http-error.ts';

/** What JSON is built of, each in one byte. */
const STRUCTURE = Buffer.from('[{,');
/** Most of these in one request: a frame has four, and the pictures themselves, in base64, none. */
const MAX_STRUCTURE = 100_000;

/**
 * Refuses JSON that is nearly all structure: parsing it takes a hundred times as long as a request of the same size with
 * pictures in it, and nobody else is served meanwhile.
 * @throws HttpError 400
 */
export function refuseDenseJson(json: Buffer): void {
  let left = MAX_STRUCTURE;
  for (const byte of STRUCTURE) {
    for (let at = json.indexOf(byte); at >= 0; at = json.indexOf(byte, at + 1)) {
      if (--left < 0) throw new HttpError(400, `the JSON has over ${MAX_STRUCTURE} brackets and commas`);
    }
  }
}
