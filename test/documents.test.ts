import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { documents } from './support/documents.ts';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const LONGEST_SENTENCE = 30;

/** The sentences of a document, and of the cells of its tables; without code and headings. */
function sentencesOf(text: string): string[] {
  const prose = text
    .replaceAll(/^```.*?^```/gms, '\n')
    .replaceAll(/^\s*(#|<).*$/gm, '\n')
    .replaceAll(/^\s*([-*]|\d+\.) /gm, '\n')
    .replaceAll(/`[^`]*`/g, 'code')
    .replaceAll(/(?<!\\)\|/g, '\n\n')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
  return prose
    .split(/\n\s*\n|(?<=[.!?])\s+/)
    .map((one) => one.replaceAll(/\s+/g, ' ').trim())
    .filter(Boolean);
}

const wordsOf = (sentence: string) => sentence.split(' ').filter((word) => /\w/.test(word)).length;

test.each(documents)('%s has no sentence of more than thirty words', (file) => {
  expect(sentencesOf(read(file)).filter((sentence) => wordsOf(sentence) > LONGEST_SENTENCE)).toEqual([]);
});

test('a command of the runbooks ends by itself, and takes every id', () => {
  const commands = [...read('docs/runbooks.md').matchAll(/`([^`]+)`/g)].map(([, command = '']) => command);
  const compactions = commands.filter((command) => command.startsWith('npm run compact -- '));
  expect(compactions.filter((command) => !command.includes(' --once'))).toEqual([]);
  // CloudWatch reads `gate-1` without its own quotes as a pattern.
  const patterns = commands.flatMap((command) => /--filter-pattern (\S*<.*)/.exec(command)?.[1] ?? []);
  expect(patterns).toEqual([`'"<id>"'`]);
});
