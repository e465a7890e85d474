// Sends hostile input to the running pipeline beside good cameras. Exits with 1 if a good camera is disturbed.
//   npm run test:hostile -- --help
import { npmScript, positiveInteger } from '../bench/options.ts';
import { toldToStop } from '../support/stopping.ts';
import { runCampaign } from './campaign.ts';
import { PARTS } from './parts/index.ts';

const names = PARTS.map(({ name }) => name);
const { seed, mutations, only } = npmScript(
  'test:hostile',
  'Sends bytes of strangers to the running pipeline beside good cameras, and looks whether one of them notices.',
)
  .option('--seed <n>', 'the same one sends the same bytes', positiveInteger, 1 + (Date.now() % 1_000_000))
  .option('--mutations <n>', 'damaged versions of something good, of each part', positiveInteger, 500)
  .option('--only <parts...>', `only these: ${names.join(', ')}`)
  .parse()
  .opts<{ seed: number; mutations: number; only?: string[] }>();

/** Longest pause of a good camera's frames, milliseconds. */
const MAX_PAUSE_MS = 5_000;

const signal = toldToStop();
const outcome = await runCampaign({
  seed,
  mutations,
  only,
  signal,
  note: (line) => console.log(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}`),
}).catch((error) => {
  if (!signal.aborted) throw error;
  process.exit();
});
const problems = [
  ...outcome.unmet,
  ...outcome.overCeiling,
  ...outcome.restarted.map((name) => `${name} ended and was started again`),
  ...(outcome.reconnects > 0 ? [`good cameras were opened again ${outcome.reconnects} times`] : []),
  ...(outcome.goodFailed > 0 ? [`${outcome.goodFailed} frames of good cameras failed`] : []),
  ...(outcome.pauseMs > MAX_PAUSE_MS
    ? [`a good camera's frames paused for ${outcome.pauseMs} ms: ${outcome.pauseOf}`]
    : []),
];
console.log(
  [
    `${outcome.attacks} attacks; in failed/:`,
    ...[...outcome.reasons].sort().map(([reason, count]) => `  ${String(count).padStart(5)}  ${reason}`),
    `largest memory, MiB: ${[...outcome.memory].map((pair) => pair.join(' ')).join(', ')}`,
    `longest pause of a good camera's frames: ${outcome.pauseMs} ms (${outcome.pauseOf}); of their capture: ${outcome.capturePauseMs} ms`,
    ...(problems.length > 0
      ? [...problems, `again: npm run test:hostile -- --seed ${seed} --mutations ${mutations}`]
      : ['nobody noticed']),
  ].join('\n'),
);
process.exit(problems.length > 0 ? 1 : 0);
