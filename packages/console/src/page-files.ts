import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { extname, join } from 'node:path';

const FOLDER = join(import.meta.dirname, '..', 'page');
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.ts': 'text/javascript; charset=utf-8',
};

/** The page's files by name. */
export type Page = ReadonlyMap<string, { type: string; body: string; etag: string }>;

/** Every file of the page, read once, TypeScript stripped of its types. No other file can be asked for. */
export function loadPage(): Page {
  const files = readdirSync(FOLDER).filter((name) => extname(name) in TYPES);
  return new Map(files.map((name) => [name, load(name)]));
}

function load(name: string) {
  const source = readFileSync(join(FOLDER, name), 'utf8');
  const body = name.endsWith('.ts') ? stripTypeScriptTypes(source) : source;
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 16)}"`;
  return { type: TYPES[extname(name)] ?? '', body, etag };
}
