import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CommandHost } from '../support/command-host.ts';

const MAIN = join(import.meta.dirname, '../../packages/cli/src/cameras.ts');
let folder: string;
let commands: CommandHost;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cameras-'));
  commands = new CommandHost();
});
afterEach(() => Promise.all([commands.stop(), rm(folder, { recursive: true })]));

function cameras(args: string[], env: NodeJS.ProcessEnv = {}) {
  return commands.run(MAIN, args, { STREAMS: '', STREAMS_FILE: '', INIT_CWD: folder, ...env });
}

test('npm run cameras adds to, prints, changes and empties a list, and prints no password', async () => {
  const file = join(folder, 'my.yaml');
  const env = { STREAMS_FILE: 'my.yaml' };
  const added = await cameras(['add', 'yard', 'rtsp://admin:secret@cam/1', '--frame-rate', '5'], env);
  expect(added).toMatchObject({ code: 0, stdout: `yard is saved in ${file}\n` });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await cameras(['add', 'gate', 'rtsp://cam/2', '--streams', 'my.yaml']);
  await cameras(['disable', 'gate'], env);
  const { stdout } = await cameras(['list', '--json'], env);
  expect(JSON.parse(stdout)).toEqual([
    { id: 'yard', url: 'rtsp://***@cam/1', frame_rate: 5 },
    { id: 'gate', url: 'rtsp://cam/2', disabled: true },
  ]);
  expect((await cameras(['list'], env)).stdout).toMatch(/^gate +disabled/m);
  await cameras(['enable', 'gate'], env);
  expect(await readFile(file, 'utf8')).not.toContain('disabled');
  await cameras(['remove', 'gate'], env);
  await cameras(['remove', 'yard'], env);
  expect((await cameras(['list', '--json'], env)).stdout).toBe('[]\n');
});

test("npm run cameras changes the stack's list unless STREAMS_FILE is set, and prints errors on one line", async () => {
  expect((await cameras(['list', '--data-dir', folder])).stderr).toMatch(
    /^there is no \S+streams.json: start the stack/,
  );
  await writeFile(join(folder, 'streams.json'), '[{"id": "yard", "url": "rtsp://cam/1"}]');
  expect((await cameras(['add', 'gate', 'rtsp://cam/2', '--data-dir', folder])).code).toBe(0);
  expect(JSON.parse(await readFile(join(folder, 'streams.json'), 'utf8'))).toHaveLength(2);
  for (const [args, told] of [
    [['remove', 'nobody'], "there is no stream 'nobody'"],
    [['test', 'nobody'], "there is no camera 'nobody'"],
    [['add', 'a/b', 'rtsp://cam/3'], "'id' must be letters"],
    [['add', 'roof', 'gopher://u:secret@cam/3'], "'url' must be a path"],
  ] as const) {
    const { code, stderr } = await cameras([...args, '--data-dir', folder]);
    expect(code).toBe(1);
    expect(stderr).toContain(told);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).not.toContain('secret');
  }
});
