import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emitMetrics } from '@video-pipeline/telemetry';
import { expect, onTestFinished, test, vi } from 'vitest';
import { readCounts } from './ingest-counts.ts';

test('the frames that ingest published are summed by stream and session', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'counts-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  let written = 'ready\n{"level":"INFO"}\n';
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written += text;
    return true;
  });
  emitMetrics('ingest', 'yard', { FramesPublished: 3, FramesCaptured: 4 }, 's1');
  emitMetrics('ingest', 'yard', { FramesPublished: 2 }, 's1');
  emitMetrics('ingest', 'yard', { FramesPublished: 7 }, 's2');
  emitMetrics('detect', 'yard', { FramesDetected: 9 });
  stdout.mockRestore();
  const file = join(folder, 'ingest.log');
  await writeFile(file, written);
  expect(Object.fromEntries(await readCounts([file]))).toEqual({ 'yard/s1': 5, 'yard/s2': 7 });
  await expect(readCounts([join(folder, 'none')])).rejects.toThrow('none');
});
