import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { variables } from '@video-pipeline/config';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const path = join(root, 'README.md');
const readme = readFileSync(path, 'utf8');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** The table of environment variables, as the README shows it. */
function variableTable(): string {
  const rows = Object.entries(variables).map(([name, schema]) => {
    const value = schema.safeParse(undefined).data;
    const shown = value === undefined ? '' : `\`${value}\``;
    return `| \`${name}\` | ${schema.description?.replaceAll('|', '\\|')} | ${shown} |`;
  });
  return ['| variable | what for | default |', '| --- | --- | --- |', ...rows].join('\n');
}

test('the README lists every environment variable with its default (UPDATE_README=1 writes them)', () => {
  const section = /(<!-- variables[^\n]*-->\n).*?(<!-- \/variables -->)/s;
  const updated = readme.replace(section, (_, start, end) => `${start}\n${variableTable()}\n\n${end}`);
  if (process.env.UPDATE_README) writeFileSync(path, updated);
  else expect(readme).toBe(updated);
});

test.each(['README.md', 'CONTRIBUTING.md', 'docs/deploy.md'])(
  'every npm script that %s calls exists',
  (file) => {
    const text = readFileSync(join(root, file), 'utf8');
    const called = [...text.matchAll(/\bnpm run ([\w:-]*\w)/g)].map(([, script]) => script ?? '');
    expect(called.length).toBeGreaterThan(0);
    expect(called.filter((script) => !(script in manifest.scripts))).toEqual([]);
  },
);

test('every file that the README links to exists', () => {
  const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, link]) => link ?? '');
  expect(links.length).toBeGreaterThan(3);
  expect(links.map((link) => readFileSync(join(root, link)).length > 0)).not.toContain(false);
});

test('every test that SECURITY.md takes for proof exists', () => {
  const files = globSync(['{test,packages,functions,ingest-host,model}/**/*.test.ts'], {
    cwd: root,
    exclude: (path) => path.includes('node_modules'),
  });
  const proofs = readFileSync(join(root, 'SECURITY.md'), 'utf8').match(/[\w./-]+\.test\.ts/g) ?? [];
  expect(proofs.length).toBeGreaterThan(10);
  expect(proofs.filter((proof) => !files.some((file) => `/${file}`.endsWith(`/${proof}`)))).toEqual([]);
});
