import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const root = resolve(import.meta.dirname, '../..');
export const scripts: Record<string, string> = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
).scripts;

export type Command = [file: string, ...args: string[]];

/** What an npm script runs, if that is a program of ours. */
export function commandOf(script: string): Command | undefined {
  const [, file, args = ''] = /^exec node (?:--\S+ )*(\S+\.ts)(.*)$/.exec(scripts[script] ?? '') ?? [];
  return file ? [join(root, file), ...args.split(' ').filter(Boolean)] : undefined;
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs commands that end by themselves, in one process. Each of its own would take half a second of a processor. */
export async function runTogether(commands: Command[]): Promise<Outcome[]> {
  const runner = join(import.meta.dirname, 'run-together.ts');
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [runner, JSON.stringify(commands)],
    // Those that need more threads would start themselves again.
    { cwd: root, maxBuffer: 1e7, env: { ...process.env, UV_THREADPOOL_SIZE: '4' } },
  );
  const said = stdout.split('\0');
  const complaints = stderr.split('\0');
  return commands.map((_, index) => ({
    code: Number(said[2 * index + 1]),
    stdout: said[2 * index] ?? '',
    stderr: complaints[index] ?? '',
  }));
}
