import { readFileSync } from 'node:fs';

/**
 * What a command line says of a source, so that a password need not stand there for `ps` to show: `@path` is the first
 * line of that file.
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
 * `${NAME}` in a URL is the environment's variable NAME, so that passwords need not stand beside it: percent-encoded
 * within a URL, as it is where it is all of it.
 * @param onMissing called with the name of each variable that is not set
 */
export function expandVariables(url: string, onMissing: (name: string) => void): string {
  return url.replace(/\$\{([A-Za-z_]\w*)\}/g, (reference, name: string) => {
    const value = process.env[name];
    if (!value) onMissing(name);
    return reference === url ? (value ?? '') : encodeURIComponent(value ?? '');
  });
}
