import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { documents } from './support/documents.ts';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
const LONGEST_SENTENCE = 30;

/** The sentences of a document's running text: no code, no tables, no headings. */
function sentencesOf(text: string): string[] {
  const prose = text
    .replaceAll(/^```.*?^```/gms, '\n')
    .replaceAll(/^\s*(#|\||<).*$/gm, '\n')
    .replaceAll(/^\s*([-*]|\d+\.) /gm, '\n')
    .replaceAll(/`[^`]*`/g, 'code')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
  return prose
    .split(/\n\s*\n|(?<=[.!?])\s+/)
    .map((one) => one.replaceAll(/\s+/g, ' ').trim())
    .filter(Boolean);
}

const wordsOf = (sentence: string) => sentence.split(' ').filter((word) => /\w/.test(word)).length;

test.each(documents)('no sentence of %s is longer than thirty words', (file) => {
  expect(sentencesOf(read(file)).filter((sentence) => wordsOf(sentence) > LONGEST_SENTENCE)).toEqual([]);
});

/** A command of ours as a document has it: an npm script, its subcommand, and the options it is given. */
function commandsOf(text: string): { script: string; subcommand: string; options: string[] }[] {
  const calls = text.matchAll(/\bnpm (?:run (?:-s )?([a-z][\w:-]*\w)|(start))(?: -s)? -- ([^\n`|#>)]+)/g);
  return [...calls].map(([, script, start, given = '']) => ({
    script: script ?? start ?? '',
    subcommand: /^[a-z][a-z0-9-]+(?= |$)/.exec(given)?.[0] ?? '',
    options: given.match(/(?<= |^)--[a-z][a-z-]*/g) ?? [],
  }));
}

const commands = documents.flatMap((file) => commandsOf(read(file)));
const byCall = Map.groupBy(commands, ({ script, subcommand }) => `${script} ${subcommand}`.trim());
const isOurs = (call: string) => scripts[call.split(' ')[0] ?? '']?.startsWith('exec node ');
const hasOptions = (call: string) => byCall.get(call)?.some(({ options }) => options.length > 0);
const calls = [...byCall.keys()].filter((call) => isOurs(call) && hasOptions(call)).sort();

test('the documents give options to many commands of ours', () => {
  expect(calls.length).toBeGreaterThan(10);
});

async function helpOf(script: string, ...subcommand: string[]): Promise<string> {
  const [, node = ''] = /^exec node (.*)$/.exec(scripts[script] ?? '') ?? [];
  const args = [...node.split(' '), ...subcommand, '--help'];
  return (await promisify(execFile)(process.execPath, args, { cwd: root })).stdout;
}

test.each(calls)(
  'npm run %s has each option that a document gives it',
  async (call) => {
    const [script = '', ...subcommand] = call.split(' ');
    const help = await helpOf(script, ...subcommand);
    expect(help).toContain(subcommand[0] ?? 'Usage:');
    const options = new Set(byCall.get(call)?.flatMap((one) => one.options));
    const missing = [...options].filter((option) => !help.includes(option));
    // Some are options of the command as a whole.
    const whole = missing.length > 0 && subcommand.length > 0 ? await helpOf(script) : '';
    expect(missing.filter((option) => !whole.includes(option))).toEqual([]);
  },
  60_000,
);
