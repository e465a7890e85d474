/**
 * The part of a body that the request's header `Range` names, for media players. The whole body if the header names
 * none, or several.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-14
 */
export function ranged(body: Buffer, range = '') {
  const headers = { 'accept-ranges': 'bytes' };
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
  if (first === '' && last === '') return { status: 200, body, headers };
  const { length } = body;
  const from = first === '' ? Math.max(0, length - Number(last)) : Number(first);
  const to = first === '' || last === '' ? length - 1 : Math.min(Number(last), length - 1);
  const isThere = from <= to;
  return {
    status: isThere ? 206 : 416,
    body: isThere ? body.subarray(from, to + 1) : '',
    headers: { ...headers, 'content-range': isThere ? `bytes ${from}-${to}/${length}` : `bytes */${length}` },
  };
}
