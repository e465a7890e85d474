import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import { dropResult, turnResults } from './answers.ts';
import type { WireFault } from './fault-proxy.ts';
import { type FrameKind, POISON } from './ledger.ts';
import type { Rig, StageName } from './rig.ts';
import type { Service } from './service.ts';
import type { SmallDisk } from './small-disk.ts';

/** The objects that a fault acts on. */
export interface Scene {
  rig: Rig;
  random: Random;
  /** The next frames are published as these kinds. */
  publishNext(kinds: FrameKind[]): void;
}

export interface Fault {
  name: string;
  /** How often the fault is in the list that schedules are drawn from. */
  weight: number;
  /** Injects the fault. Resolves when the fault is over, or waits for its request. */
  play(scene: Scene): Promise<void> | void;
}

/** Fewest requests that a wire fault applies to: the AWS SDK alone tries three times. */
const BURST = 4;
const HELPER_MS = 4_000;
/** Longer than the session timeout: the member continues to work on revoked partitions. */
const ZOMBIE_MS = 8_000;
/** So long that restarts meet the full disk as well. */
const FULL_MS = 3_000;
/** How long a broker without writes may not notice the full disk. */
const NOTICED_MS = 60_000;

const model = (name: string, fault: WireFault, weight = 1): Fault => ({
  name: `model: ${name}`,
  weight,
  play: ({ rig, random }) => rig.wires.model.arm(fault, random.integer(1, 2)),
});

const s3 = (name: string, fault: WireFault, times = BURST): Fault => ({
  name: `s3: ${name}`,
  weight: 1,
  play: ({ rig, random }) => rig.wires.s3.arm(fault, random.integer(1, times)),
});

const s3Error = (status: number, code: string): Fault =>
  s3(`${status} ${code}`, {
    do: 'answer',
    status,
    body: `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>a fault</Message></Error>`,
    headers: { 'content-type': 'application/xml' },
  });

const perStage = (name: string, weight: number, play: (scene: Scene, stage: StageName) => unknown): Fault[] =>
  (['detect', 'annotate'] as const).map((stage) => ({
    name: `${stage}: ${name}`,
    weight,
    play: async (scene) => void (await play(scene, stage)),
  }));

/** Faults that are over at once, or with the next attempt of the stage. */
export const QUICK_FAULTS: Fault[] = [
  ...POISON.map(
    (kind): Fault => ({ name: `poison: ${kind}`, weight: 1, play: ({ publishNext }) => publishNext([kind]) }),
  ),
  {
    name: 'batches cut at 6 MB',
    weight: 1,
    play: ({ publishNext }) => publishNext(Array.from({ length: 30 }, () => 'heavy')),
  },

  model('500', { do: 'answer', status: 500, body: 'out of memory' }),
  model('429', { do: 'answer', status: 429, body: '{"error":"busy"}', headers: { 'retry-after': '1' } }),
  model('503', { do: 'answer', status: 503, body: '' }),
  model('404', { do: 'answer', status: 404, body: 'no such model' }),
  model('garbage', { do: 'answer', status: 200, body: '<html>welcome</html>' }),
  model('half a body', { do: 'half' }),
  model('reset before', { do: 'reset' }),
  model('reset after', { do: 'reset after' }),
  model('2 s late', { do: 'delay', ms: 2_000 }),
  model('a result missing', { do: 'change', change: dropResult }, 2),
  model('results in another order', { do: 'change', change: turnResults }, 2),

  s3Error(500, 'InternalError'),
  s3Error(503, 'SlowDown'),
  s3Error(403, 'InvalidAccessKeyId'),
  s3Error(404, 'NoSuchBucket'),
  s3('reset before', { do: 'reset' }),
  s3('reset after the object was stored', { do: 'reset after' }),
  s3('1 s late', { do: 'delay', ms: 1_000 }),

  // Not two concurrent writes: S3Proxy checks the condition of a write and then writes, in two steps.
  { name: 'compact: kill -9', weight: 4, play: ({ rig }) => rig.services.compact.kill() },

  ...perStage('killed between publishing and commit', 1, ({ rig }, stage) => rig.injectFault(stage, 'die')),
  ...perStage('batch delivered twice', 2, ({ rig }, stage) => rig.injectFault(stage, 'again')),
  ...perStage('throws after its work', 2, ({ rig }, stage) => rig.injectFault(stage, 'throw')),
];

export const anyBroker = ({ rig: { brokers }, random }: Scene): Service => {
  const index = brokers.length > 1 ? random.integer(0, brokers.length - 1) : 0;
  return brokers[index] as Service;
};

/** Faults that remove a process, a connection or a member of a group for seconds. */
const SLOW_FAULTS: Fault[] = [
  { name: 'kafka: kill -9', weight: 1, play: (scene) => anyBroker(scene).kill() },
  {
    name: 'kafka: kill -9 before a commit',
    weight: 1,
    play: (scene) =>
      scene.rig.injectFault(scene.random.next() < 0.5 ? 'detect' : 'annotate', {
        hold: () => anyBroker(scene).kill(),
      }),
  },
  { name: 'kafka: no answer for 5 s', weight: 1, play: (scene) => anyBroker(scene).freeze(5_000) },
  { name: 'model: kill -9', weight: 2, play: ({ rig }) => rig.services.model.kill() },
  { name: 'model: frozen for 4 s', weight: 1, play: ({ rig }) => rig.services.model.freeze(4_000) },
  model('no answer', { do: 'silence' }),
  { name: 's3: kill -9', weight: 2, play: ({ rig }) => rig.services.s3.kill() },
  { name: 's3: frozen for 4 s', weight: 1, play: ({ rig }) => rig.services.s3.freeze(4_000) },
  s3('no answer', { do: 'silence' }, 1),
  ...perStage('kill -9', 1, ({ rig }, stage) => rig.services[stage].kill()),
  ...perStage('hangs after its work', 1, ({ rig }, stage) => rig.injectFault(stage, 'hang')),
  ...perStage('frozen until it is a zombie', 1, ({ rig }, stage) => rig.services[stage].freeze(ZOMBIE_MS)),
  ...perStage('rebalance in mid-batch', 1, async ({ rig }, stage) => {
    const helper = rig.helper(stage);
    // Kafka may be down at this moment.
    await helper.start().then(
      () => sleep(HELPER_MS),
      () => {},
    );
    await helper.stop();
  }),
];

export const FAULTS: readonly Fault[] = [...QUICK_FAULTS, ...SLOW_FAULTS];

/** The disk of Kafka's data is full until the broker has ended, and for a while after that. */
export const diskFull = (disk: SmallDisk): Fault => ({
  name: 'kafka: disk full',
  weight: 1,
  async play({ rig: { brokers } }) {
    const [broker] = brokers;
    await broker?.running();
    await disk.fill();
    await Promise.race([broker?.ended(), sleep(NOTICED_MS)]);
    await sleep(FULL_MS);
    await disk.free();
  },
});

/** A fault and how many frames are published before it. */
export interface Planned {
  at: number;
  fault: Fault;
}

/** Draws each fault once in random order, then again, spread over the run. */
export function drawSchedule(
  random: Random,
  frames: number,
  count: number,
  faults: readonly Fault[] = FAULTS,
): Planned[] {
  const deck = faults.flatMap((fault) => Array.from({ length: fault.weight }, () => fault));
  const drawn: Fault[] = [];
  while (drawn.length < count) drawn.push(...random.shuffle(deck));
  return drawn
    .slice(0, count)
    .map((fault) => ({ at: random.integer(0, frames - 1), fault }))
    .sort((one, other) => one.at - other.at);
}
