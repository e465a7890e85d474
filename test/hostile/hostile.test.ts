import { beforeAll, expect, test } from 'vitest';
import { ceilings, type Outcome, runCampaign } from './campaign.ts';

let outcome: Outcome;
beforeAll(async () => {
  outcome = await runCampaign({ seed: 1, mutations: 40, note: () => {} });
}, 400_000);

test('of every attack comes what must', () => {
  expect(outcome.unmet).toEqual([]);
  expect(outcome.attacks).toBeGreaterThan(10);
});

test('no process ends, and none takes more memory than SECURITY.md grants it', () => {
  expect(outcome.restarted).toEqual([]);
  expect(outcome.overCeiling).toEqual([]);
  expect([...outcome.memory.keys()].sort()).toEqual([...ceilings().keys()].sort());
});

test('good cameras flow on, and none of their frames fails', () => {
  expect(outcome.goodFailed).toBe(0);
  expect(outcome.reconnects).toBe(0);
  // Of what is captured alone: what comes of it takes as long as the machine's other work lets it.
  expect(outcome.capturePauseMs).toBeLessThan(10_000);
});
