import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packArchive } from '@video-pipeline/storage';
import { expect, it } from 'vitest';
import { peerPython } from '../bench/peers/python.ts';
import { hasCommand } from '../support/has-command.ts';

const SCRIPT = `
import json, sys, webdataset
for sample in webdataset.WebDataset('file:' + sys.argv[1], shardshuffle=False):
    print(sample['__key__'], len(sample['jpg']), json.loads(sample['json'])['frame_number'])
`;

it.skipIf(!hasCommand('python3'))(
  'an archive is read by webdataset, picture by picture, and nothing else is in it (needs Python)',
  async ({ onTestFinished }) => {
    const folder = await mkdtemp(join(tmpdir(), 'archive-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const items = [7, 8, 9].map((frameNumber) => ({
      frame: { streamId: 'yard', frameNumber, capturedAt: 1_795_590_000_000 + frameNumber },
      jpeg: Buffer.alloc(600 * frameNumber, frameNumber),
      line: JSON.stringify({ frame_number: frameNumber }),
    }));
    const file = join(folder, 'archive.tar');
    await writeFile(file, packArchive(items).body);
    const python = await peerPython({ name: 'webdataset', packages: ['webdataset==1.0.2'] });
    const { stdout } = await promisify(execFile)(python, ['-c', SCRIPT, file]);
    const expected = items.map(
      ({ frame, jpeg }) => `${frame.capturedAt}-${frame.frameNumber} ${jpeg.length} ${frame.frameNumber}`,
    );
    expect(stdout.trim().split('\n')).toEqual(expected);
  },
  120_000,
);
