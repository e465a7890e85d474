import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openDatabase } from './duckdb.ts';

test('a database leaves no folder, however its process ends, and close() aborts running queries', async () => {
  const module = JSON.stringify(join(import.meta.dirname, 'duckdb.ts'));
  const script = `import { openDatabase } from ${module};
    console.log((await openDatabase()).folder); process.exit(1)`;
  const { stdout, pid } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const ended = stdout.trim();
  expect(ended).toContain(`-${pid}-`);
  expect(existsSync(ended)).toBe(false);
  // As a process leaves it that is killed; in a container that is started again, the next process has the same number.
  const earlier = ended.replace(`-${pid}-`, `-${process.pid}-`);
  for (const folder of [ended, earlier]) await mkdir(folder);
  await utimes(earlier, 1, 1);
  const another = await openDatabase();
  const database = await openDatabase();
  expect([ended, earlier, another.folder].map(existsSync)).toEqual([false, false, true]);
  await another.close();
  const endless = database.run('SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 8');
  await Promise.all([expect(endless).rejects.toThrow(), sleep(50).then(() => database.close())]);
  expect(existsSync(database.folder)).toBe(false);
});

test.each([0, 1, 2, 5])('an abort stops a statement that began %i ms ago', async (ms) => {
  const endless = 'SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 8';
  const database = await openDatabase();
  const stop = new AbortController();
  const stopped = database.run(endless, stop.signal);
  await Promise.all([
    expect(stopped).rejects.toThrow('gone'),
    sleep(ms).then(() => stop.abort(new Error('gone'))),
  ]);
  const closed = database.run(endless);
  await Promise.all([expect(closed).rejects.toThrow(), sleep(ms).then(() => database.close())]);
});

test('a file that is rewritten within a second is read with its new content', async () => {
  const database = await openDatabase();
  const path = join(database.folder, 'former.parquet');
  for (const rows of [1, 100_000, 7]) {
    await database.run(`COPY (FROM range(${rows})) TO '${path}' (FORMAT parquet)`);
    const [counted] = await database.run(
      `SELECT count(*) AS n, max(range) + 1 AS last FROM read_parquet('${path}')`,
    );
    expect(counted).toEqual({ n: BigInt(rows), last: BigInt(rows) });
  }
  await database.close();
});
