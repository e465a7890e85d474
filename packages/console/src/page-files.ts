import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import { dirname, extname, join } from 'node:path';

const FOLDER = join(import.meta.dirname, '..', 'page');
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.ts': 'text/javascript; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
};

/** The page's files by name. */
export type Page = ReadonlyMap<string, { type: string; body: string; etag: string }>;

/** All files of the page, read once, with the types stripped from TypeScript. No other file is served. */
export function loadPage(): Page {
  const files = readdirSync(FOLDER).filter((name) => extname(name) in TYPES);
  const own = files.map((name) => [name, load(name, join(FOLDER, name))] as const);
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot'));
  return new Map([
    ...own,
    ['uplot.js', load('uplot.js', join(uplot, 'uPlot.esm.js'))],
    ['uplot.css', load('uplot.css', join(uplot, 'uPlot.min.css'))],
  ]);
}

function load(name: string, path: string) {
  const source = readFileSync(path, 'utf8');
  // A browser can't resolve package names.
  const body = name.endsWith('.ts')
    ? stripTypeScriptTypes(source).replace("from 'uplot'", "from './uplot.js'")
    : source;
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 16)}"`;
  return { type: TYPES[extname(name)] ?? '', body, etag };
}
