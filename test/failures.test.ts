import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FAILURES } from '@video-pipeline/storage';
import { expect, test } from 'vitest';
import { expectGenerated } from './support/generated.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

test('docs/failures.md has what happened and a remedy for each code', () => {
  const rows = Object.entries(FAILURES).map(
    ([code, { what, remedy }]) => `| \`${code}\` | ${what} | ${remedy} |`,
  );
  const table = ['| code | what happened | what to do |', '| --- | --- | --- |', ...rows];
  expectGenerated('docs/failures.md', 'codes', table.join('\n'));
});

test('each code is used in the sources', () => {
  const sources = globSync(['{packages/*,functions}/src/**/*.ts', 'examples/*.ts'], { cwd: root })
    .filter((file) => !file.endsWith('.test.ts') && !file.endsWith('/failures.ts'))
    .map(read);
  const unused = Object.keys(FAILURES).filter((code) => !sources.some((text) => text.includes(`'${code}'`)));
  expect(unused).toEqual([]);
});
