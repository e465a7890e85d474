import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { peerPython } from './bench/peers/python.ts';
import { staysFlat, thirds } from './bench/processes.ts';
import { BESIDE, documented, ELSEWHERE, STARTS } from './documents/commands.ts';
import { CommandHost, type Outcome } from './support/command-host.ts';
import { documents } from './support/documents.ts';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
/** Scripts that start another program of ours, or load all of it from another file. */
const PROGRAMS: Record<string, string> = {
  audit: 'packages/recovery/src/audit-command.ts',
  compact: 'packages/tables/src/main.ts',
  failed: 'packages/recovery/src/failed-command.ts',
  model: 'model/src/command.ts',
  replay: 'packages/recovery/src/replay-command.ts',
  scene: 'packages/recovery/src/scene-command.ts',
  search: 'packages/tables/src/search-command.ts',
};
/** The program of ours that an npm script runs, if it does. */
const programOf = (script: string) =>
  PROGRAMS[script] ?? /^exec node (?:--\S+ )*(\S+\.ts)$/.exec(scripts[script] ?? '')?.[1];

const host = new CommandHost();
afterAll(() => host.stop());
/** What the words after `npm run` are answered. To load its modules takes most of what such a command takes. */
const answers = new Map<string, Outcome>();
async function ask(call: string, ...args: string[]): Promise<Outcome> {
  const [script = '', ...subcommand] = call.split(' ');
  const name = [call, ...args].join(' ');
  // With fewer threads, one would start itself again.
  const outcome = await host.run(join(root, programOf(script) ?? ''), [...subcommand, ...args], {
    UV_THREADPOOL_SIZE: '4',
  });
  answers.set(name, outcome);
  return outcome;
}
const helpOf = async (call: string) => answers.get(`${call} --help`) ?? ask(call, '--help');

/** A command of ours as a document has it: an npm script, its subcommand, and the options it is given. */
function commandsOf(text: string): { script: string; subcommand: string; options: string[] }[] {
  const calls = text.matchAll(/\bnpm (?:run (?:-s )?([a-z][\w:-]*\w)|(start))(?: -s)? -- ([^\n`|#>)]+)/g);
  return [...calls].map(([, script, start, given = '']) => ({
    script: script ?? start ?? '',
    subcommand: /^[a-z][a-z0-9-]+(?= |$)/.exec(given)?.[0] ?? '',
    options: given.match(/(?<= |^)--[a-z][a-z-]*/g) ?? [],
  }));
}

const byCall = Map.groupBy(
  documents.flatMap((file) => commandsOf(read(file))),
  ({ script, subcommand }) => `${script} ${subcommand}`.trim(),
);
const optionsOf = (call: string) => new Set(byCall.get(call)?.flatMap(({ options }) => options));
const isOurs = (call: string) => programOf(call.split(' ')[0] ?? '') !== undefined;
const calls = [...byCall.keys()].filter((call) => isOurs(call) && optionsOf(call).size > 0).sort();
/** Commands of ours. `model:build` is a module, too, and reads a command line only as a process of its own. */
const ours = Object.keys(scripts).filter((name) => programOf(name) !== undefined && name !== 'model:build');

test('most npm scripts are commands of this project, and documents use options of many', () => {
  expect(ours).toEqual(expect.arrayContaining(['bench:model', 'console:shots', 'pin:jars', 'test:faults']));
  expect(calls.length).toBeGreaterThan(10);
});

test.each(ours)('npm run %s -- --help prints its usage', async (name) => {
  const { code, stdout } = await helpOf(name);
  expect(stdout).toContain(`Usage: npm ${name === 'start' ? '' : 'run '}${name} -- [`);
  expect(code).toBe(0);
});

test.each(calls)('npm run %s has each option that a document uses', async (call) => {
  const { code, stdout } = await helpOf(call);
  const [script = '', subcommand] = call.split(' ');
  expect(code).toBe(0);
  expect(stdout).toContain(subcommand ?? 'Usage:');
  const missing = [...optionsOf(call)].filter((option) => !stdout.includes(option));
  // Some are options of the command as a whole.
  const whole = missing.length > 0 && subcommand ? (await helpOf(script)).stdout : '';
  expect(missing.filter((option) => !whole.includes(option))).toEqual([]);
});

test('a command within another process that leaves a handle open logs it', async ({ onTestFinished }) => {
  const folder = await mkdtemp(join(tmpdir(), 'leaving-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const leaving = join(folder, 'leaving.mjs');
  const lifecycle = join(root, 'packages/lifecycle/src/index.ts');
  await writeFile(
    leaving,
    `import { createServer } from 'node:net';
     import { runCommand } from ${JSON.stringify(lifecycle)};
     createServer().listen(0, '127.0.0.1');
     await runCommand(Promise.resolve());`,
  );
  const { code, stderr } = await host.run(leaving, []);
  expect(stderr).toMatch(/^ended after 1 s of waiting for: .*TCPServerWrap/);
  expect(code).toBe(0);
});

test('staysFlat() is false for growing memory, also with a high start', () => {
  expect(thirds([428, 440, 451, 452, 454, 453])).toEqual([434, 453.5]);
  expect(staysFlat(thirds([428, 440, 451, 452, 454, 453]))).toBe(true);
  expect(staysFlat(thirds([428, 450, 480, 520, 550, 580]))).toBe(false);
});

test('an unknown option is rejected', async () => {
  expect(await ask('bench:model', '--fast')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("unknown option '--fast'"),
  });
});

const DAYS = ['--from', '2026-11-26', '--to', '2026-11-25'];
test.each([
  [['local', 'nope'], "error: unknown command 'nope'"],
  [['model', 'nope'], /'nope' is invalid for argument 'mode'. Allowed choices are serve.$/],
  [['replay', ...DAYS], '--from must be before --to'],
  [['search', ...DAYS], '--from must be before --to'],
  [['failed', 'list', '--by', 'detct'], /Allowed choices are detect, annotate, notify, clip, event-source.$/],
])('npm run with the arguments %j fails with one line', async ([call = '', ...args], line) => {
  const { code, stderr } = await ask(call, ...args);
  expect(stderr.trim()).toMatch(line);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(code).toBe(1);
});

test.each(['0', '-3', 'many', '1e999'])(
  '--frames %s is rejected before anything is measured',
  async (frames) => {
    const { code, stderr } = await ask('bench:model', `--frames=${frames}`);
    expect(stderr).toContain('must be a whole number from 1 on');
    expect(code).toBe(1);
  },
);

test('a peer is not downloaded in offline mode', async () => {
  vi.stubEnv('VIDEO_PIPELINE_OFFLINE', '1');
  await expect(peerPython({ name: 'absent', packages: ['absent==1'] })).rejects.toThrow(
    'absent is not installed, and VIDEO_PIPELINE_OFFLINE forbids to fetch it',
  );
  vi.unstubAllEnvs();
});

test('each command in the documents is run by a test', () => {
  const known = [BESIDE, STARTS, ELSEWHERE].flatMap(Object.keys);
  expect([...documented].filter((command) => !known.includes(command))).toEqual([]);
  expect(known.filter((command) => !documented.has(command))).toEqual([]);
});

test.each(Object.entries(ELSEWHERE))('npm command %s is run by another test', (_command, [file, has]) => {
  expect(read(file)).toContain(has);
});

test('commands in documents that write to a file or a pipe use npm run -s', () => {
  const texts = [...documents, 'infra/render.ts'].flatMap((file) => read(file).split('\n'));
  const piped = texts.flatMap(
    (line) => line.match(/npm (?:run|start)\b(?:[^`|>]|<[^>]*>)*(?: >|(?<!^\|.*) \|) \S+/g) ?? [],
  );
  expect(piped.length).toBeGreaterThan(3);
  expect(piped.filter((command) => !/ -s /.test(command))).toEqual([]);
});
