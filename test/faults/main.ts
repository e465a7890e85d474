// Plays faults on the whole pipeline and accounts for every frame; exits 1 when one is missing, wrong or mixed up.
//   npm run test:faults -- --help
import type { Value } from '@video-pipeline/config';
import { InvalidArgumentError, Option } from 'commander';
import { npmScript, positiveInteger } from '../bench/options.ts';
import { isSound } from './accounting.ts';
import { type Outcome, runCampaign } from './campaign.ts';
import { CLUSTER_FAULTS } from './cluster-faults.ts';
import { FAULTS } from './faults.ts';
import { MAX_STREAMS } from './numbered.ts';

const { seed, frames, faults, streams, brokers, store } = npmScript(
  'test:faults',
  'Plays faults on the whole pipeline and accounts for every frame.',
)
  .option('--seed <n>', 'the same one plays the same faults', positiveInteger, 1 + (Date.now() % 1_000_000))
  .option('--frames <n>', 'frames that must arrive', positiveInteger, 20_000)
  .option('--faults <n>', 'faults played', positiveInteger, 200)
  .option('--streams <n>', `cameras, ${MAX_STREAMS} at most`, streamCount, 8)
  .option('--brokers <n>', 'nodes of Kafka, 1 or 3; with 3 also what only a cluster has', brokerCount, 1)
  .addOption(
    new Option('--store <form>', 'how annotate stores').choices(['frames', 'archive']).default('frames'),
  )
  .parse()
  .opts<{
    seed: number;
    frames: number;
    faults: number;
    streams: number;
    brokers: number;
    store: Value<'STORE'>;
  }>();

/** @throws InvalidArgumentError */
function streamCount(text: string): number {
  const count = positiveInteger(text);
  if (count > MAX_STREAMS) throw new InvalidArgumentError(`must be ${MAX_STREAMS} at most.`);
  return count;
}

/** @throws InvalidArgumentError */
function brokerCount(text: string): number {
  const count = positiveInteger(text);
  if (count !== 1 && count !== 3) throw new InvalidArgumentError('must be 1 or 3.');
  return count;
}

const SHOWN = 10;
const command = `npm run test:faults -- --seed ${seed} --frames ${frames} --faults ${faults} --streams ${streams} --brokers ${brokers} --store ${store}`;
console.log(command);
const outcome = await runCampaign({
  seed,
  frames,
  faults,
  streams,
  brokers,
  store,
  among: brokers > 1 ? [...FAULTS, ...CLUSTER_FAULTS] : FAULTS,
  handlerTimeoutSeconds: 25,
  note: (line) => console.log(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}`),
});
console.log(report(outcome));
process.exit(isSound(outcome) ? 0 : 1);

function report(outcome: Outcome): string {
  const { accounts, misplaced, played, acknowledged, annotated, failed, unmet, repeatedLines, seconds } =
    outcome;
  const names = [...played].sort().map(([name, count]) => `  ${String(count).padStart(3)}  ${name}`);
  const total = [...played.values()].reduce((sum, count) => sum + count, 0);
  const wrong = Object.entries({ ...accounts, misplaced })
    .filter(([, ids]) => ids.length > 0)
    .map(
      ([what, ids]) =>
        `  ${ids.length} ${what}: ${ids.slice(0, SHOWN).join(', ')}${ids.length > SHOWN ? ' ...' : ''}`,
    );
  return [
    `${total} faults in ${Math.round(seconds)} s, ${unmet} of them met by nothing:`,
    ...names,
    ...wrong,
    pausesOf(outcome),
    `${acknowledged} frames acknowledged: ${annotated} annotated, ${failed} in failed/, ` +
      `${repeatedLines} lines of detections twice; ${isSound(outcome) ? 'every frame is accounted for' : 'NOT every frame is accounted for'}`,
    ...(isSound(outcome) ? [] : [`again: ${command}`]),
  ].join('\n');
}

function pausesOf({ sends }: Outcome): string {
  const at = (share: number) => Math.round(sends[Math.floor(share * (sends.length - 1))] ?? 0);
  return `${sends.length} sends, until all was acknowledged: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`;
}
