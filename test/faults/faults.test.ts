import { expect, test } from 'vitest';
import { runCampaign } from './campaign.ts';
import { QUICK_FAULTS } from './faults.ts';

// The short form of `npm run test:faults`: every fault that is quickly over, once.
test('whatever fails, every acknowledged frame is annotated once, with its own pixels and detections, or in failed/', async ({
  onTestFailed,
}) => {
  const notes: string[] = [];
  onTestFailed(() => console.log(notes.join('\n')));
  const outcome = await runCampaign({
    seed: 7,
    frames: 400,
    faults: QUICK_FAULTS.length,
    among: QUICK_FAULTS.map((fault) => ({ ...fault, weight: 1 })),
    streams: 8,
    handlerTimeoutSeconds: 20,
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
  expect([...outcome.played.keys()].sort()).toEqual(QUICK_FAULTS.map(({ name }) => name).sort());
  expect(outcome.unmet).toBe(0);
  expect(outcome.acknowledged).toBeGreaterThanOrEqual(400);
  expect(outcome.annotated + outcome.failed).toBe(outcome.acknowledged);
}, 240_000);
