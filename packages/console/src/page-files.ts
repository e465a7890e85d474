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
  const { resolve } = createRequire(import.meta.url);
  const uplot = dirname(resolve('uplot'));
  return new Map([
    ...own,
    ['keypoints.ts', load('keypoints.ts', resolve('@video-pipeline/frame/keypoints'))],
    ['uplot.js', load('uplot.js', join(uplot, 'uPlot.esm.js'))],
    ['uplot.css', load('uplot.css', join(uplot, 'uPlot.min.css'))],
  ]);
}

function load(name: string, path: string) {
  const source = readFileSync(path, 'utf8');
  const body = name.endsWith('.ts') ? withOwnImports(stripTypeScriptTypes(source)) : source;
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 16)}"`;
  return { type: TYPES[extname(name)] ?? '', body, etag };
}

/** A browser can't resolve package names. */
function withOwnImports(code: string): string {
  return code
    .replace("from 'uplot'", "from './uplot.js'")
    .replace("from '@video-pipeline/frame/keypoints'", "from './keypoints.ts'");
}
