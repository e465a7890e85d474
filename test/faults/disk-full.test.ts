import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isSound } from './accounting.ts';
import { runCampaign } from './campaign.ts';
import { diskFull } from './faults.ts';
import { canMount, mountSmallDisk } from './small-disk.ts';

if (!canMount) console.warn('skipped: a disk that is full needs root on Linux, to mount a small tmpfs');

test.skipIf(!canMount)(
  "the broker's disk is full: it goes, comes back with the room, and no acknowledged frame is lost",
  async ({ onTestFinished, onTestFailed }) => {
    const folder = await mkdtemp(join(tmpdir(), 'disk-full-'));
    const disk = await mountSmallDisk(join(folder, 'disk'), 64);
    onTestFinished(async () => {
      await disk.unmount();
      await rm(folder, { recursive: true, force: true });
    });
    const notes: string[] = [];
    onTestFailed(() => console.log(notes.join('\n')));
    const outcome = await runCampaign({
      seed: 5,
      frames: 200,
      faults: 1,
      among: [diskFull(disk)],
      streams: 4,
      handlerTimeoutSeconds: 20,
      kafkaDir: disk.folder,
      note: (line) => void notes.push(line),
    });
    expect(outcome.accounts.audit).toEqual([]);
    expect(isSound(outcome)).toBe(true);
    expect(outcome.played.get('kafka: disk full')).toBe(1);
    expect(outcome.acknowledged).toBeGreaterThanOrEqual(200);
    expect(outcome.annotated).toBe(outcome.acknowledged);
  },
  180_000,
);
