// Plays faults on the whole pipeline and accounts for every frame; exits 1 when one is missing, wrong or mixed up.
//   npm run test:faults -- [--seed 1] [--frames 20000] [--faults 200] [--streams 8]
import { parseArgs } from 'node:util';
import { isSound } from './accounting.ts';
import { type Outcome, runCampaign } from './campaign.ts';
import { MAX_STREAMS } from './numbered.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    frames: { type: 'string', default: '20000' },
    faults: { type: 'string', default: '200' },
    streams: { type: 'string', default: '8' },
  },
});
const [seed, frames, faults, streams] = [values.seed, values.frames, values.faults, values.streams].map(
  Number,
) as [number, number, number, number];
if (![seed, frames, faults, streams].every(Number.isInteger) || streams < 1 || streams > MAX_STREAMS) {
  throw new Error(`--seed, --frames, --faults are integers, --streams is one from 1 to ${MAX_STREAMS}`);
}

const SHOWN = 10;
const command = `npm run test:faults -- --seed ${seed} --frames ${frames} --faults ${faults} --streams ${streams}`;
console.log(command);
const outcome = await runCampaign({
  seed,
  frames,
  faults,
  streams,
  handlerTimeoutSeconds: 25,
  note: (line) => console.log(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}`),
});
console.log(report(outcome));
process.exit(isSound(outcome) ? 0 : 1);

function report(outcome: Outcome): string {
  const { accounts, played, acknowledged, annotated, failed, unmet, repeatedLines, seconds } = outcome;
  const names = [...played].sort().map(([name, count]) => `  ${String(count).padStart(3)}  ${name}`);
  const total = [...played.values()].reduce((sum, count) => sum + count, 0);
  const wrong = Object.entries(accounts)
    .filter(([, ids]) => ids.length > 0)
    .map(
      ([what, ids]) =>
        `  ${ids.length} ${what}: ${ids.slice(0, SHOWN).join(', ')}${ids.length > SHOWN ? ' ...' : ''}`,
    );
  return [
    `${total} faults in ${Math.round(seconds)} s, ${unmet} of them met by nothing:`,
    ...names,
    ...wrong,
    `${acknowledged} frames acknowledged: ${annotated} annotated, ${failed} in failed/, ` +
      `${repeatedLines} lines of detections twice; ${isSound(outcome) ? 'every frame is accounted for' : 'NOT every frame is accounted for'}`,
    ...(isSound(outcome) ? [] : [`again: ${command}`]),
  ].join('\n');
}
