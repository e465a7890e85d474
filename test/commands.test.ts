import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { peerPython } from './bench/peers/python.ts';
import { staysFlat, thirds } from './bench/processes.ts';
import { type Command, commandOf, type Outcome, runTogether, scripts } from './support/commands.ts';
import { documents } from './support/documents.ts';

const root = resolve(import.meta.dirname, '..');

/** A command of ours as a document has it: an npm script, its subcommand, and the options it is given. */
function commandsOf(text: string): { script: string; subcommand: string; options: string[] }[] {
  const calls = text.matchAll(/\bnpm (?:run (?:-s )?([a-z][\w:-]*\w)|(start))(?: -s)? -- ([^\n`|#>)]+)/g);
  return [...calls].map(([, script, start, given = '']) => ({
    script: script ?? start ?? '',
    subcommand: /^[a-z][a-z0-9-]+(?= |$)/.exec(given)?.[0] ?? '',
    options: given.match(/(?<= |^)--[a-z][a-z-]*/g) ?? [],
  }));
}

const documented = Map.groupBy(
  documents.flatMap((file) => commandsOf(readFileSync(join(root, file), 'utf8'))),
  ({ script, subcommand }) => `${script} ${subcommand}`.trim(),
);
const optionsOf = (call: string) => new Set(documented.get(call)?.flatMap(({ options }) => options));
const isOurs = (call: string) => commandOf(call.split(' ')[0] ?? '') !== undefined;
const calls = [...documented.keys()].filter((call) => isOurs(call) && optionsOf(call).size > 0).sort();
const measuring = Object.keys(scripts).filter((name) =>
  /test\/(bench|faults)\/[\w-]+\.ts$/.test(commandOf(name)?.join(' ') ?? ''),
);

const model = commandOf('bench:model') ?? [''];
const wrongFrames = ['0', '-3', 'many', '1e999'];
/** What all commands here answered, by the arguments after `npm run`. */
const answers = new Map<string, Outcome>();
const ask = async (asked: Map<string, Command>) => {
  const outcomes = await runTogether([...asked.values()]);
  for (const [index, name] of [...asked.keys()].entries()) answers.set(name, outcomes[index] as Outcome);
};
const helpOf = (call: string): [string, Command] => {
  const [script = '', ...subcommand] = call.split(' ');
  return [call, [...(commandOf(script) ?? ['']), ...subcommand, '--help']];
};
beforeAll(
  () =>
    ask(
      new Map<string, Command>([
        ...[...new Set([...calls, ...measuring])].map(helpOf),
        ...['--fast', ...wrongFrames.map((frames) => `--frames=${frames}`)].map(
          (option): [string, Command] => [`bench:model ${option}`, [...model, option]],
        ),
      ]),
    ),
  60_000,
);

test('there are commands that measure, and the documents give options to many', () => {
  expect(measuring).toEqual(expect.arrayContaining(['bench', 'bench:model', 'test:faults']));
  expect(calls.length).toBeGreaterThan(10);
});

test.each(measuring)('npm run %s -- --help', (name) => {
  const { code, stdout } = answers.get(name) as Outcome;
  expect(stdout).toContain(`Usage: npm run ${name} -- [options]`);
  expect(code).toBe(0);
});

test.each(calls)('npm run %s has each option that a document gives it', async (call) => {
  const { code, stdout } = answers.get(call) as Outcome;
  const [script = '', subcommand] = call.split(' ');
  expect(code).toBe(0);
  expect(stdout).toContain(subcommand ?? 'Usage:');
  const missing = [...optionsOf(call)].filter((option) => !stdout.includes(option));
  // Some are options of the command as a whole.
  if (missing.length > 0 && subcommand) await ask(new Map([helpOf(script)]));
  const whole = subcommand ? (answers.get(script)?.stdout ?? '') : '';
  expect(missing.filter((option) => !whole.includes(option))).toEqual([]);
});

test('memory that grows is not flat, whatever it was at first', () => {
  expect(thirds([428, 440, 451, 452, 454, 453])).toEqual([434, 453.5]);
  expect(staysFlat(thirds([428, 440, 451, 452, 454, 453]))).toBe(true);
  expect(staysFlat(thirds([428, 450, 480, 520, 550, 580]))).toBe(false);
});

test('an option that there is not is refused', () => {
  expect(answers.get('bench:model --fast')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("unknown option '--fast'"),
  });
});

test.each(wrongFrames)('%s frames are refused before anything is measured', (frames) => {
  const { code, stderr } = answers.get(`bench:model --frames=${frames}`) as Outcome;
  expect(stderr).toContain('must be a whole number from 1 on');
  expect(code).toBe(1);
});

test('a peer is not fetched where that is forbidden', async () => {
  vi.stubEnv('VIDEO_PIPELINE_OFFLINE', '1');
  await expect(peerPython({ name: 'absent', packages: ['absent==1'] })).rejects.toThrow(
    'absent is not installed, and VIDEO_PIPELINE_OFFLINE forbids to fetch it',
  );
  vi.unstubAllEnvs();
});
