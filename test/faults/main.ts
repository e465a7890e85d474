// Injects faults into the whole pipeline and accounts for every frame. Exits with 1 if one is missing or wrong.
//   npm run test:faults -- --help
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Value } from '@video-pipeline/config';
import { InvalidArgumentError, Option } from 'commander';
import { npmScript, positiveInteger } from '../bench/options.ts';
import { toldToStop } from '../support/stopping.ts';
import { isSound } from './accounting.ts';
import { isFlat, type Outcome, runCampaign } from './campaign.ts';
import { CLUSTER_FAULTS } from './cluster-faults.ts';
import { diskFull, FAULTS } from './faults.ts';
import { MAX_STREAMS } from './numbered.ts';
import { spread } from './probe.ts';
import { canMount, mountSmallDisk } from './small-disk.ts';

const { seed, frames, faults, streams, brokers, store, once, rolling } = npmScript(
  'test:faults',
  'Plays faults on the whole pipeline and accounts for every frame.',
)
  .option('--seed <n>', 'the same one plays the same faults', positiveInteger, 1 + (Date.now() % 1_000_000))
  .option('--frames <n>', 'frames that must arrive', positiveInteger, 20_000)
  .option('--faults <n>', 'faults played', positiveInteger, 200)
  .option('--streams <n>', `cameras, ${MAX_STREAMS} at most`, streamCount, 8)
  .option('--brokers <n>', 'nodes of Kafka, 1 or 3; with 3 also what only a cluster has', brokerCount, 1)
  .addOption(
    new Option('--store <form>', 'how annotate stores')
      .choices(['frames', 'archive', 'video', 'events'])
      .default('frames'),
  )
  .option('--once', 'pictures travel once: detect annotates, too', false)
  .option(
    '--rolling <minutes>',
    'only restart the brokers in turn, for so long, and watch memory; needs 3',
    positiveInteger,
  )
  .parse()
  .opts<{
    seed: number;
    frames: number;
    faults: number;
    streams: number;
    brokers: number;
    store: Value<'STORE'>;
    once: boolean;
    rolling?: number;
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
/** A smaller disk would be full without a fault: it holds three replicas of all records of the run. */
const DISK_MEGABYTES = 1_024;
const command = rolling
  ? `npm run test:faults -- --brokers ${brokers} --rolling ${rolling}`
  : `npm run test:faults -- --seed ${seed} --frames ${frames} --faults ${faults} --streams ${streams} --brokers ${brokers} --store ${store}${once ? ' --once' : ''}`;
console.log(command);
if (rolling && brokers === 1) throw new Error('--rolling needs --brokers 3');
const signal = toldToStop();
const folder = await mkdtemp(join(tmpdir(), 'faults-disk-'));
const disk = brokers > 1 && canMount ? await mountSmallDisk(folder, DISK_MEGABYTES) : undefined;
if (brokers > 1 && !disk) console.log('skipped: kafka: disk full (it needs root on Linux, to mount a tmpfs)');
const ofCluster = brokers > 1 ? [...CLUSTER_FAULTS, ...(disk ? [diskFull(disk)] : [])] : [];
const outcome = await runCampaign({
  seed,
  frames,
  faults,
  streams,
  brokers,
  store,
  pictures: once ? 'once' : 'twice',
  among: [...FAULTS, ...ofCluster],
  handlerTimeoutSeconds: 25,
  ...(disk ? { kafkaDir: disk.folder } : {}),
  ...(rolling ? { rollingMinutes: rolling } : {}),
  signal,
  note: (line) => console.log(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}`),
})
  .finally(async () => {
    await disk?.unmount();
    await rm(folder, { recursive: true, force: true });
  })
  .catch((error) => {
    if (!signal.aborted) throw error;
    process.exit();
  });
console.log(report(outcome));
process.exit(isSound(outcome) && (!rolling || isFlat(outcome)) ? 0 : 1);

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
    ...(brokers > 1 ? pausesOf(outcome) : []),
    `${acknowledged} frames acknowledged: ${annotated} annotated, ${failed} in failed/, ` +
      `${repeatedLines} lines of detections twice; ${isSound(outcome) ? 'every frame is accounted for' : 'NOT every frame is accounted for'}`,
    ...(isSound(outcome) ? [] : [`again: ${command}`]),
  ].join('\n');
}

function pausesOf({ sends, pauses, stagePauses, waits, memory, ingested }: Outcome): string[] {
  const load = loadavg().map((one) => one.toFixed(1));
  return [
    `load ${load.join(', ')} on ${availableParallelism()} processors`,
    `${sends.length} sends, until all was acknowledged: ${spread(sends)} ms`,
    `${waits.length} frames of the probe, until acknowledged: ${spread(waits)} ms`,
    'longest wait of each stream while a fault was played, others beside it; for Kafka, and then from Kafka to S3:',
    ...[...pauses]
      .sort()
      .map(([name, all]) => `  ${spread(all)} ms; ${spread(stagePauses.get(name) ?? [])} ms  ${name}`),
    `ingest: ${ingested.frames} frames in Kafka, ${ingested.twice} of them twice`,
    'memory in the first and the last third, MiB:',
    ...[...memory].map(([name, [first, last]]) => `  ${name} ${Math.round(first)} ${Math.round(last)}`),
  ];
}
