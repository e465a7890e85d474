/**
 * `text` without the credentials in its URLs: whatever stands before `@`, and every query, since cameras take
 * passwords there too.
 */
export function redact(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]{0,31}:\/\/)([^\s'"<>]*)/gi, (_url, scheme: string, rest: string) => {
    const [address = '', query] = rest.split(/\?(.*)/s);
    const slash = address.indexOf('/');
    // A password may hold `@` and `/`: everything up to the last `@` goes.
    const at = address.lastIndexOf('@');
    // One with `?` in it can't be told from a query.
    if (at < 0 && query?.includes('@')) return `${scheme}***`;
    const host = at < 0 ? address : `***@${address.slice(at + 1)}`;
    return scheme + (slash === 0 ? address : host) + (query === undefined ? '' : '?***');
  });
}
