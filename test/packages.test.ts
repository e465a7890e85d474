import { globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const SCOPE = '@video-pipeline/';

/** Folder of a package -> names of the packages it may import, as CONTRIBUTING.md's table says. */
function packageTable(): Map<string, string[]> {
  const rows = read('CONTRIBUTING.md').matchAll(/^\| `([\w/-]+)` +\|.*\| ([\w, -]+) \|$/gm);
  return new Map([...rows].map(([, folder = '', may = '']) => [folder, may.match(/[a-z-]*[a-z]/g) ?? []]));
}

const packages = packageTable();
const workspaces = globSync('{packages/*,functions,ingest-host,model}/package.json', { cwd: root }).map(
  dirname,
);

/** What runs, without its tests. */
const product = globSync('{packages,functions,ingest-host,model,infra}/**/*.ts', {
  cwd: root,
  exclude: ['**/node_modules/**', '**/*.test.ts'],
});

test('CONTRIBUTING.md names each package', () => {
  expect([...packages.keys()].sort()).toEqual(workspaces.sort());
});

test('each package in the table may import only packages in rows above it', () => {
  const names = [...packages.keys()].map(nameOf);
  const wrong = [...packages.values()].flatMap((may, row) =>
    may.filter((name) => !names.slice(0, row).includes(name)).map((name) => `${names[row]}: ${name}`),
  );
  expect(wrong).toEqual([]);
});

test.each([...packages])('%s imports only what CONTRIBUTING.md allows', (folder, allowed) => {
  const sources = globSync(`${folder}/**/*.ts`, {
    cwd: root,
    exclude: ['**/node_modules/**', '**/*.test.ts'],
  });
  expect(sources.length).toBeGreaterThan(0);
  const wrong = sources.flatMap((file) =>
    importsOf(file)
      .filter((name) => !isAllowed(name, file, folder, allowed))
      .map((name) => `${file} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});

test.each([...packages])('%s/package.json has exactly the dependencies that its sources import', (folder) => {
  const manifest = JSON.parse(read(`${folder}/package.json`));
  const sources = globSync(`${folder}/**/*.ts`, { cwd: root, exclude: ['**/node_modules/**'] });
  const used = new Set(
    sources
      .flatMap((file) => importsOf(file))
      .filter(isPackage)
      .map(packageOf)
      .filter((name) => name !== manifest.name),
  );
  const declared = Object.keys(manifest.dependencies ?? {}).filter((name) => !name.startsWith('@types/'));
  expect({ unused: declared.filter((name) => !used.has(name)) }).toEqual({ unused: [] });
  const shared = [
    'vitest',
    'fast-check',
    '@tensorflow/tfjs-backend-wasm',
    '@tensorflow/tfjs-converter',
    '@tensorflow/tfjs-core',
    'aws-lambda',
    'fauxqs',
    `${SCOPE}assets`,
  ];
  const undeclared = [...used].filter((name) => !declared.includes(name) && !shared.includes(name));
  expect({ undeclared }).toEqual({ undeclared: [] });
});

test('only packages/kafka imports kafkajs, and its producer confirms each record', () => {
  // The second plays a foreign producer, whose transaction stays open.
  const excepted = ['test/packages.test.ts', 'test/e2e/event-source.test.ts'];
  const sources = globSync('{packages,functions,ingest-host,model,infra,test}/**/*.ts', {
    cwd: root,
    exclude: ['**/node_modules/**', 'packages/kafka/**', ...excepted],
  });
  const knows = (file: string) =>
    importsOf(file).some((name) => packageOf(name) === 'kafkajs') || /\.producer\(/.test(read(file));
  expect(sources.filter(knows)).toEqual([]);
});

test('no file imports itself through other files, types included', () => {
  const graph = new Map(
    product.map((file) => {
      const relatives = importsOf(file).filter((name) => name.startsWith('.'));
      return [file, relatives.map((name) => join(dirname(file), name))];
    }),
  );
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (path.includes(file) || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of product) visit(file, []);
  expect(circles).toEqual([]);
});

test('sst.config.ts loads no native module at a deploy', () => {
  const { resolve: find } = createRequire(join(root, 'package.json'));
  const { files, packages: loaded } = loadedBy('sst.config.ts', (name) =>
    name.startsWith(SCOPE) ? relative(root, find(name)) : undefined,
  );
  expect(files.size).toBeGreaterThan(30);
  const native = [
    'node-av',
    'sharp',
    'onnxruntime-node',
    'koffi',
    '@julusian/jpeg-turbo',
    '@duckdb/node-api',
  ];
  expect(native.filter((name) => loaded.has(name))).toEqual([]);
});

test('vitest.config.ts loads no package of this project, so that an older Node prints the advice', () => {
  const { files, packages: loaded } = loadedBy('vitest.config.ts');
  expect([...loaded].filter((name) => name.startsWith(SCOPE))).toEqual([]);
  expect(files.size).toBeGreaterThan(3);
});

test('no file imports node:http or undici as a whole at its start', () => {
  const whole = /^(?:import|export) (?!type\b)[^;]*?from '(?:node:https?|undici)'/m;
  expect(product.filter((file) => !file.endsWith('.d.ts') && whole.test(read(file)))).toEqual([]);
});

test('no two error classes have the same name', () => {
  const classes = product.flatMap((file) => {
    const code = read(file);
    return [...code.matchAll(/^export class (\w+Error)\b/gm)].map(([, name = '']) => ({ name, file }));
  });
  const groups = Map.groupBy(classes, ({ name }) => name);
  expect([...groups.values()].filter(({ length }) => length > 1)).toEqual([]);
});

test('no source file has more than 300 lines', () => {
  const styles = globSync('packages/*/page/*.{css,html}', { cwd: root });
  const long = [...product, ...styles].filter((file) => read(file).split('\n').length - 1 > 300);
  expect(styles.length).toBeGreaterThan(1);
  expect(long).toEqual([]);
});

test('each export is imported by another file', () => {
  const readers = globSync('{{packages,functions,ingest-host,model,infra,test,examples}/**/,}*.ts', {
    cwd: root,
    exclude: ['**/node_modules/**', '**/.sst/**'],
  });
  const words = new Map<string, Set<string>>();
  for (const file of readers) {
    for (const [word] of read(file).matchAll(/[A-Za-z_$][\w$]*/g)) {
      words.set(word, (words.get(word) ?? new Set()).add(file));
    }
  }
  const declaration =
    /^export (?:abstract |async )*(?:function\*?|class|const|let|interface|type) ([\w$]+)/gm;
  const unused = product.flatMap((file) =>
    [...read(file).matchAll(declaration)]
      .filter(([, name = '']) => (words.get(name)?.size ?? 0) < 2)
      .map(([, name]) => `${file}: ${name}`),
  );
  expect(unused).toEqual([]);
});

/** @param but statements that don't count */
function importsOf(file: string, but?: RegExp): string[] {
  const code = read(file);
  const statements = code.matchAll(
    /^(?:import|export)\b[^;'"]*?\bfrom '([^']+)'|^import '([^']+)'|\bimport(?:\.meta\.resolve)?\('([^']+)'\)/gm,
  );
  const counting = [...statements].filter(([statement]) => !but?.test(statement));
  return counting.map((match) => match.slice(1).find(Boolean) ?? '');
}

/**
 * The files of ours that a file loads, itself included, and the packages that those import.
 * @param fileOf a file of ours that a package stands for, to go on there
 */
function loadedBy(entry: string, fileOf: (name: string) => string | undefined = () => undefined) {
  const [files, packages] = [new Set<string>(), new Set<string>()];
  const visit = (file: string) => {
    if (files.has(file)) return;
    files.add(file);
    for (const name of importsOf(file, /^import type\b/)) {
      const next = name.startsWith('.') ? join(dirname(file), name) : fileOf(name);
      if (next) visit(next);
      else packages.add(packageOf(name));
    }
  };
  visit(entry);
  return { files, packages };
}

function isAllowed(name: string, file: string, folder: string, allowed: string[]): boolean {
  if (name.startsWith('.'))
    return !relative(join(root, folder), resolve(root, dirname(file), name)).startsWith('..');
  // A package may name itself: an example that is copied into it does.
  return (
    !name.startsWith(SCOPE) || [nameOf(folder), ...allowed].includes(packageOf(name).slice(SCOPE.length))
  );
}

const nameOf = (folder: string) => folder.replace('packages/', '');

function isPackage(name: string): boolean {
  return !name.startsWith('.') && !name.startsWith('node:');
}

function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}
