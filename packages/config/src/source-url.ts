import { readFileSync } from 'node:fs';

/**
 * Reads a source from a command line. `@path` means the first line of that file, so that `ps` shows no password.
 * @throws Error that names the file
 */
export function readSourceUrl(value: string): string {
  if (!value.startsWith('@')) return value;
  const line = readFileSync(value.slice(1), 'utf8')
    .split('\n')
    .map((one) => one.trim())
    .find(Boolean);
  if (!line) throw new Error(`${value.slice(1)} holds no URL`);
  return line;
}

/**
 * Replaces `${NAME}` in a URL by the environment variable NAME, so that the URL itself holds no password. The value is
 * percent-encoded inside a URL. It is used as it is where it is the whole URL.
 * @param onMissing called with the name of each variable that is not set
 */
export function expandVariables(url: string, onMissing: (name: string) => void): string {
  return url.replace(/\$\{([A-Za-z_]\w*)\}/g, (reference, name: string) => {
    const value = process.env[name];
    if (!value) onMissing(name);
    return reference === url ? (value ?? '') : encodeURIComponent(value ?? '');
  });
}

/**
 * The address of `path` below a base URL, which may have a path of its own: `http://host/models` and `health`.
 * @example
 * urlBelow('http://host/models', 'health').href; // => 'http://host/models/health'
 */
export function urlBelow(base: string, path: string): URL {
  return new URL(path, base.endsWith('/') ? base : `${base}/`);
}
