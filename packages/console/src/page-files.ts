import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire, getCompileCacheDir, stripTypeScriptTypes } from 'node:module';
import { dirname, extname, join } from 'node:path';

const FOLDER = join(import.meta.dirname, '..', 'page');
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.ts': 'text/javascript; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
};

/** Modules of packages/frame that the page uses to draw as annotate does, and to find annotate's folders. */
const SHARED = ['hours', 'hues', 'keypoints'];

export type Page = ReadonlyMap<string, { type: string; body: string; etag: string }>;

/**
 * All files of the page, read once, with the types stripped from TypeScript. No other file is served.
 * @param cache folder for the result: stripping the types takes as long as loading half of the console
 */
export function loadPage(cache = getCompileCacheDir()): Page {
  const { resolve } = createRequire(import.meta.url);
  const own = readdirSync(FOLDER).filter((name) => extname(name) in TYPES);
  const uplot = dirname(resolve('uplot'));
  const files: [name: string, path: string][] = [
    ...own.map((name): [string, string] => [name, join(FOLDER, name)]),
    ...SHARED.map((name): [string, string] => [`${name}.ts`, resolve(`@video-pipeline/frame/${name}`)]),
    ['uplot.js', join(uplot, 'uPlot.esm.js')],
    ['uplot.css', join(uplot, 'uPlot.min.css')],
  ];
  const sources = files.map(([name, path]): Source => [name, readFileSync(path, 'utf8')]);
  const bodies = cache === undefined ? sources.map(bodyOf) : kept(join(cache, 'console-page.json'), sources);
  return new Map(
    sources.map(([name], index) => {
      const body = bodies[index] ?? '';
      return [name, { type: TYPES[extname(name)] ?? '', body, etag: `"${hashOf(body)}"` }];
    }),
  );
}

type Source = [name: string, text: string];

/** The bodies that an earlier start wrote to `file` for the same sources and code, or new ones, which are written. */
function kept(file: string, sources: readonly Source[]): string[] {
  const of = hashOf(JSON.stringify([readFileSync(import.meta.filename, 'utf8'), sources]));
  try {
    const before = JSON.parse(readFileSync(file, 'utf8'));
    if (before.of === of) return before.bodies;
  } catch {} // there is none, or it was cut off
  const bodies = sources.map(bodyOf);
  try {
    writeFileSync(file, JSON.stringify({ of, bodies }));
  } catch {} // the next start strips the types again
  return bodies;
}

const hashOf = (text: string) => createHash('sha256').update(text).digest('base64url').slice(0, 16);

function bodyOf([name, text]: Source): string {
  return name.endsWith('.ts') ? withOwnImports(stripTypeScriptTypes(text)) : text;
}

/** A browser can't resolve package names. */
function withOwnImports(code: string): string {
  return code
    .replace("from 'uplot'", "from './uplot.js'")
    .replaceAll(/from '@video-pipeline\/frame\/(\w+)'/g, "from './$1.ts'");
}
