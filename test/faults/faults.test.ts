import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCampaign } from './campaign.ts';
import { diskFull, QUICK_FAULTS } from './faults.ts';
import { canMount, mountSmallDisk } from './small-disk.ts';

if (!canMount)
  console.warn('left out: a disk that is full, as it needs root on Linux, to mount a small tmpfs');

// The short form of `npm run test:faults`: every fault that is quickly over, once, and the broker's disk full.
test('under faults each acknowledged frame is annotated once, with its pixels and detections, or in failed/', async ({
  onTestFinished,
  onTestFailed,
}) => {
  const folder = await mkdtemp(join(tmpdir(), 'faults-disk-'));
  const disk = canMount ? await mountSmallDisk(join(folder, 'disk'), 96) : undefined;
  onTestFinished(async () => {
    await disk?.unmount();
    await rm(folder, { recursive: true, force: true });
  });
  const notes: string[] = [];
  onTestFailed(() => console.log(notes.join('\n')));
  const among = [...QUICK_FAULTS, ...(disk ? [diskFull(disk)] : [])].map((fault) => ({
    ...fault,
    weight: 1,
  }));
  const outcome = await runCampaign({
    seed: 7,
    frames: 400,
    faults: among.length,
    among,
    streams: 8,
    handlerTimeoutSeconds: 20,
    ...(disk && { kafkaDir: disk.folder }),
    note: (line) => void notes.push(line),
  });
  expect(outcome.accounts).toEqual({
    missing: [],
    failedInVain: [],
    wrongPixels: [],
    wrongDetections: [],
    unlisted: [],
    audit: [],
    ingest: [],
    tables: [],
  });
  expect(outcome.misplaced).toEqual([]);
  expect([...outcome.played.keys()].sort()).toEqual(among.map(({ name }) => name).sort());
  expect(outcome.unmet).toBe(0);
  expect(outcome.acknowledged).toBeGreaterThanOrEqual(400);
  expect(outcome.annotated + outcome.failed).toBe(outcome.acknowledged);
}, 240_000);
