import type { OutgoingHttpHeaders } from 'node:http';

interface Reply {
  status?: number;
  body: Buffer | string;
  headers: OutgoingHttpHeaders;
}

/**
 * The part of a reply's body that the request's header `Range` names, for media players. The whole body if the header
 * names none, or several.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-14
 */
export function ranged(reply: Reply & { body: Buffer }, range = ''): Reply {
  const headers = { ...reply.headers, 'accept-ranges': 'bytes' };
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
  if (first === '' && last === '') return { ...reply, headers };
  const { length } = reply.body;
  const from = first === '' ? Math.max(0, length - Number(last)) : Number(first);
  const to = first === '' || last === '' ? length - 1 : Math.min(Number(last), length - 1);
  const isThere = from <= to;
  return {
    ...reply,
    status: isThere ? 206 : 416,
    body: isThere ? reply.body.subarray(from, to + 1) : '',
    headers: { ...headers, 'content-range': isThere ? `bytes ${from}-${to}/${length}` : `bytes */${length}` },
  };
}
