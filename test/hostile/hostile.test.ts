import { expect, test } from 'vitest';
import { ceilings, runCampaign } from './campaign.ts';

test('each attack has its expected result, no process ends or grows too large, and good cameras continue', async ({
  signal,
  onTestFailed,
}) => {
  const notes: string[] = [];
  onTestFailed(() => console.log(notes.join('\n')));
  const note = (line: string) => void notes.push(line);
  const outcome = await runCampaign({ seed: 1, mutations: 40, signal, note });
  expect(outcome.unmet).toEqual([]);
  expect(outcome.attacks).toBeGreaterThan(10);

  // Those that SECURITY.md grants.
  expect(outcome.restarted).toEqual([]);
  expect(outcome.overCeiling).toEqual([]);
  expect([...outcome.memory.keys()].sort()).toEqual([...ceilings().keys()].sort());

  expect(outcome.goodFailed).toBe(0);
  expect(outcome.reconnects).toBe(0);
  // Of what is captured alone: what comes of it takes as long as the machine's other work lets it. A busy machine captures
  // late, too: there, the attacks take long as well.
  expect(outcome.capturePauseMs).toBeLessThan(Math.max(10_000, outcome.ms / 5));
}, 1_200_000);
