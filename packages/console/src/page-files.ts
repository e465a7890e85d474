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

/** Modules of packages/frame by which the page draws as annotate does, and finds its folders. */
const SHARED = ['hours', 'hues', 'keypoints'];

export type Page = ReadonlyMap<string, { type: string; body: string; etag: string }>;

/** All files of the page, read once, with the types stripped from TypeScript. No other file is served. */
export function loadPage(): Page {
  const { resolve } = createRequire(import.meta.url);
  const own = readdirSync(FOLDER).filter((name) => extname(name) in TYPES);
  const uplot = dirname(resolve('uplot'));
  const files: [name: string, path: string][] = [
    ...own.map((name): [string, string] => [name, join(FOLDER, name)]),
    ...SHARED.map((name): [string, string] => [`${name}.ts`, resolve(`@video-pipeline/frame/${name}`)]),
    ['uplot.js', join(uplot, 'uPlot.esm.js')],
    ['uplot.css', join(uplot, 'uPlot.min.css')],
  ];
  return new Map(files.map(([name, path]) => [name, load(name, path)]));
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
    .replaceAll(/from '@video-pipeline\/frame\/(\w+)'/g, "from './$1.ts'");
}
