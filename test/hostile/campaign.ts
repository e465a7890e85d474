import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inParallel } from '@video-pipeline/storage';
import { randomOf } from '../support/random.ts';
import { orAborted } from '../support/stopping.ts';
import { PARTS } from './parts/index.ts';
import { type Measured, startTarget } from './target.ts';

export interface CampaignOptions {
  seed: number;
  /** Number of damaged versions of a valid input, for each part. */
  mutations: number;
  /** Names of the parts. Default: all. */
  only?: readonly string[] | undefined;
  /** Ends the campaign early. */
  signal?: AbortSignal;
  note: (line: string) => void;
}

export interface Outcome extends Measured {
  attacks: number;
  /** Time of all attacks, milliseconds. */
  ms: number;
  /** Attacks without their expected result. */
  unmet: string[];
  /** Number of records in `failed/`, by stage and reason without its quotes. */
  reasons: Map<string, number>;
  /** Processes that used more memory than their limit. */
  overCeiling: string[];
}

/** Number of concurrent attacks. */
const AT_ONCE = 4;

/** Most memory of each process, MiB, as SECURITY.md's table says. */
export function ceilings(): Map<string, number> {
  const text = readFileSync(join(import.meta.dirname, '../../SECURITY.md'), 'utf8');
  return new Map(
    [...text.matchAll(/^\| `([a-z0-9-]+)` \| (\d+) MiB \|/gm)].map(([, name = '', mib]) => [
      name,
      Number(mib),
    ]),
  );
}

/** Attacks the running pipeline part by part, and measures it meanwhile. */
export async function runCampaign({
  seed,
  mutations,
  only,
  signal,
  note,
}: CampaignOptions): Promise<Outcome> {
  const { target, watch, stop } = await startTarget(signal);
  try {
    const end = watch();
    const began = performance.now();
    const unmet: string[] = [];
    const parts = PARTS.filter(({ name }) => only?.includes(name) ?? true);
    const attacks = parts.flatMap(({ name, attacks }) =>
      attacks(randomOf(seed), mutations).map((attack) => ({ ...attack, name: `${name}: ${attack.name}` })),
    );
    const attacking = inParallel(attacks, AT_ONCE, async ({ name, run }) => {
      const from = performance.now();
      const problem = await run(target).then(
        () => '',
        (error: Error) => `: ${error.message}`,
      );
      if (problem) unmet.push(`${name}${problem}`);
      note(`${name}, ${Math.round(performance.now() - from)} ms${problem}`);
    });
    await orAborted(attacking, signal);
    const ms = performance.now() - began;
    const measured = await end();
    const failed = await target.failed();
    return {
      ...measured,
      attacks: attacks.length,
      ms,
      unmet,
      reasons: byReason(failed),
      overCeiling: over(measured.memory),
    };
  } finally {
    await stop();
  }
}

function byReason(failed: readonly { stage: string; reason: string }[]): Map<string, number> {
  const reasons = new Map<string, number>();
  for (const { stage, reason } of failed) {
    const kind = `${stage}: ${reason.replaceAll(/"[^"]*"|[0-9a-f.]*\d[0-9a-f.TZ:-]*/g, '..').slice(0, 100)}`;
    reasons.set(kind, (reasons.get(kind) ?? 0) + 1);
  }
  return reasons;
}

function over(memory: ReadonlyMap<string, number>): string[] {
  const limits = ceilings();
  return [...memory]
    .filter(([name, mib]) => mib > (limits.get(name) ?? 0))
    .map(([name, mib]) => `${name} took ${mib} MiB, over ${limits.get(name) ?? 'no ceiling'}`);
}
