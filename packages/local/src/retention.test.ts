import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { removeOldHours } from './retention.ts';

test('only hours of pictures and clips that were stored before the retention are deleted', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'retention-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const bucket = join(dataDir, 's3/video-pipeline-output');
  const stored = Date.parse('2026-11-26T10:20:00Z');
  const put = async (key: string, at: number) => {
    const folder = dirname(join(bucket, key));
    await mkdir(folder, { recursive: true });
    await writeFile(join(bucket, key), 'x');
    await utimes(folder, at / 1000, at / 1000);
  };
  const old = [
    'annotated/yard/date=2026-11-26/hour=10/1-1.jpg',
    'annotated/yard/date=1970-01-01/hour=00/1-1.jpg',
    'annotated/date=2026-11-01/date=2026-11-26/hour=10/1-1.tar',
    'clips/yard/date=2026-11-26/hour=10/1.mp4',
  ];
  const others = [
    'annotated/readme.txt',
    'annotated/yard/notes/readme.txt',
    'detections/yard/date=2026-11-01/hour=00/detections-0-1.ndjson',
    'events/date=2026-11-01/hour=00/1.json',
    'failed/detect/video-frames-0-1',
    'tables/events/date=2026-11-01/1.parquet',
  ];
  // Captured long ago, and stored late.
  const kept = [
    'annotated/yard/date=2026-11-26/hour=09/1-1.jpg',
    'annotated/late/date=1970-01-01/hour=00/1-1.jpg',
  ];
  for (const key of [...old, ...others]) await put(key, stored);
  for (const key of kept) await put(key, stored + 1000);
  const due = stored + 2 * 24 * 3600_000;
  expect(await removeOldHours(dataDir, 2, due - 1)).toBe(0);
  expect(await removeOldHours(dataDir, 2, due)).toBe(old.length);
  const left = await readdir(bucket, { recursive: true, withFileTypes: true });
  const files = left.filter((one) => one.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  expect(files.sort()).toEqual([...kept, ...others].map((key) => join(bucket, key)).sort());
  // No folder of a day stays empty.
  expect(await readdir(join(bucket, 'clips/yard'))).toEqual([]);
});

test('retention of a stack without objects deletes nothing', async () => {
  expect(await removeOldHours(join(tmpdir(), 'no-such-folder'), 2)).toBe(0);
});
