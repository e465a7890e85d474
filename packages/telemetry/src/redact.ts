/**
 * `text` without the credentials in its URLs: everything before `@` is left out, and so is every query, since some
 * cameras take passwords there.
 * @example
 * redact('rtsp://user:secret@camera/1'); // => 'rtsp://***@camera/1'
 */
export function redact(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]{0,31}:\/\/)([^\s'"<>]*)/gi, (_url, scheme: string, rest: string) => {
    const [address = '', query] = rest.split(/\?(.*)/s);
    const slash = address.indexOf('/');
    // A password may hold `@` and `/`: everything up to the last `@` is left out.
    const at = address.lastIndexOf('@');
    // A password that holds `?` can't be distinguished from a query.
    if (at < 0 && query?.includes('@')) return `${scheme}***`;
    const host = at < 0 ? address : `***@${address.slice(at + 1)}`;
    return scheme + (slash === 0 ? address : host) + (query === undefined ? '' : '?***');
  });
}
