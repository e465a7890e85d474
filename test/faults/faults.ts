import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import { dropResult, turnResults } from './answers.ts';
import type { WireFault } from './fault-proxy.ts';
import { type FrameKind, POISON } from './ledger.ts';
import type { Rig, StageName } from './rig.ts';
import type { Service } from './service.ts';
import type { SmallDisk } from './small-disk.ts';

/** What a fault works on. */
export interface Scene {
  rig: Rig;
  random: Random;
  /** The next frames are published as these kinds. */
  publishNext(kinds: FrameKind[]): void;
}

export interface Fault {
  name: string;
  /** How often it is in the deck that schedules are drawn from. */
  weight: number;
  /** Makes it happen; resolves when it is over, or armed. */
  play(scene: Scene): Promise<void> | void;
}

/** How often a wire fault is met at least: the AWS SDK alone tries three times. */
const BURST = 4;
const HELPER_MS = 4_000;
/** Longer than the broker waits for a member of a group: it goes on to work on what is no longer its own. */
const ZOMBIE_MS = 8_000;
/** Attempts to come back meet the full disk as well. */
const FULL_MS = 3_000;
/** So long, a broker may not notice, as nothing is written to it. */
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

/** Faults that are over in a moment, or as soon as the stage that met them has its next try. */
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

  // Two at once are none of these: S3Proxy looks at a write's condition and then writes, in two steps.
  { name: 'compact: kill -9', weight: 4, play: ({ rig }) => rig.services.compact.kill() },

  ...perStage('killed between publishing and commit', 1, ({ rig }, stage) => rig.tell(stage, 'die')),
  ...perStage('batch delivered twice', 2, ({ rig }, stage) => rig.tell(stage, 'again')),
  ...perStage('throws after its work', 2, ({ rig }, stage) => rig.tell(stage, 'throw')),
];

export const anyBroker = ({ rig: { brokers }, random }: Scene): Service => {
  const index = brokers.length > 1 ? random.integer(0, brokers.length - 1) : 0;
  return brokers[index] as Service;
};

/** Faults that take a process, a connection or a place in a group away for seconds. */
const SLOW_FAULTS: Fault[] = [
  { name: 'kafka: kill -9', weight: 1, play: (scene) => anyBroker(scene).kill() },
  {
    name: 'kafka: kill -9 before a commit',
    weight: 1,
    play: (scene) =>
      scene.rig.tell(scene.random.next() < 0.5 ? 'detect' : 'annotate', {
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
  ...perStage('hangs after its work', 1, ({ rig }, stage) => rig.tell(stage, 'hang')),
  ...perStage('frozen until it is a zombie', 1, ({ rig }, stage) => rig.services[stage].freeze(ZOMBIE_MS)),
  ...perStage('rebalance in mid-batch', 1, async ({ rig }, stage) => {
    const helper = rig.helper(stage);
    // Kafka may be away at this moment.
    await helper.start().then(
      () => sleep(HELPER_MS),
      () => {},
    );
    await helper.stop();
  }),
];

export const FAULTS: readonly Fault[] = [...QUICK_FAULTS, ...SLOW_FAULTS];

/** The disk that Kafka keeps its data on is full until the broker has gone, and for a while after. */
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

/** Draws faults from a deck that holds each of them, and from another one once that is used up; spread over the run. */
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
