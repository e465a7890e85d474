import { expect, test } from 'vitest';
import { isSound } from './accounting.ts';
import { runCampaign } from './campaign.ts';
import { CLUSTER_FAULTS } from './cluster-faults.ts';

const NAMES = [
  'cluster: kill -9 of a leader while frames are published',
  'cluster: leaders moved',
  'cluster: the network to one broker cut for 15 s',
];

// The short form of `npm run test:faults -- --brokers 3`.
test('on a cluster of three brokers that loses leaders, each acknowledged frame is annotated, in order', async ({
  onTestFailed,
}) => {
  const notes: string[] = [];
  onTestFailed(() => console.log(notes.join('\n')));
  const among = CLUSTER_FAULTS.filter(({ name }) => NAMES.includes(name));
  const outcome = await runCampaign({
    seed: 5,
    brokers: 3,
    store: 'archive',
    frames: 300,
    faults: NAMES.length,
    among: among.map((fault) => ({ ...fault, weight: 1 })),
    streams: 8,
    handlerTimeoutSeconds: 20,
    note: (line) => void notes.push(line),
  });
  expect([...outcome.played.keys()].sort()).toEqual(NAMES);
  expect(outcome.misplaced).toEqual([]);
  expect(outcome.accounts.missing).toEqual([]);
  expect(isSound(outcome)).toBe(true);
  expect(outcome.annotated).toBe(outcome.acknowledged);
  expect(outcome.acknowledged).toBeGreaterThanOrEqual(300);
}, 600_000);
