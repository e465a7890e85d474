import { globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

interface Example {
  file: string;
  name: string;
  code: string;
}

/** Names that a module exports -> the file that has each. */
function exportsOf(file: string): Map<string, string> {
  const code = read(file);
  const declared = code.matchAll(/^export (?:async )?(?:function\*?|class|const) (\w+)/gm);
  const names = new Map([...declared].map(([, name = '']) => [name, file]));
  for (const [, list = '', from = ''] of code.matchAll(/^export (\*|\{[^}]*\}) from '(\.[^']+)'/gm)) {
    const source = exportsOf(join(dirname(file), from));
    for (const [name, at] of source)
      if (list === '*' || list.match(/\w+/g)?.includes(name)) names.set(name, at);
  }
  return names;
}

/** `@video-pipeline/<package>[/<part>]`, as another package imports it -> what it exports. */
const entryPoints = new Map(
  globSync('{packages/*,functions,ingest-host,model}/package.json', { cwd: root }).flatMap((manifest) => {
    const { name, exports = {} } = JSON.parse(read(manifest));
    const parts: [string, string][] = Object.entries(
      typeof exports === 'string' ? { '.': exports } : exports,
    );
    return parts.map(([part, file]) => [join(name, part), exportsOf(join(dirname(manifest), file))] as const);
  }),
);
const exported = new Set([...entryPoints.values()].flatMap((names) => [...names.keys()]));
const sources = new Set([...entryPoints.values()].flatMap((names) => [...names.values()]));

const EXAMPLE =
  /^ \* @example\n((?: \*[^/\n]?.*\n)+?) \*\/\nexport (?:async )?(?:function\*?|class|const) (\w+)/gm;
const examples: Example[] = [...sources].flatMap((file) =>
  [...read(file).matchAll(EXAMPLE)].map(([, lines = '', name = '']) => ({
    file,
    name,
    code: lines.replaceAll(/^ \* ?/gm, ''),
  })),
);

test.each([...entryPoints])('%s has an @example', (_entry, names) => {
  expect(examples.filter(({ name, file }) => names.get(name) === file)).not.toEqual([]);
});

/** A statement whose value the comment after it, or below it, gives. */
const STATEMENT = /^(.+);\s*\/\/ => (.+)$/gm;
const isRun = ({ code }: Example) => code.includes('// => ');

test.each(examples.filter(isRun))(
  'the @example of $name in $file gives the results in its comments',
  async ({ file, code }) => {
    const module = await import(join(root, file));
    const given: [unknown, unknown][] = [];
    const compared = code.replaceAll(STATEMENT, (_, value, result) => `given.push([${value}, ${result}]);`);
    const AsyncFunction = (async () => {}).constructor as FunctionConstructor;
    await new AsyncFunction('given', ...Object.keys(module), compared)(given, ...Object.values(module));
    expect(given).not.toEqual([]);
    for (const [value, result] of given) expect(value).toEqual(result);
  },
);

test.each(examples.filter((one) => !isRun(one)))(
  'the @example of $name in $file calls only functions that exist',
  ({ name, code }) => {
    const plain = stripTypeScriptTypes(code.replaceAll(/^export /gm, ''));
    expect(() => new Function(`return async () => {\n${plain}\n}`)).not.toThrow();
    const called = [...plain.matchAll(/(?<![.\w])(?:new )?([A-Za-z]\w*)\(/g)].map(([, one = '']) => one);
    expect(called).toContain(name);
    const known = [...exported, 'writeFile'];
    expect(called.filter((one) => !known.includes(one))).toEqual([]);
  },
);
