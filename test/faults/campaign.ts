import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Value } from '@video-pipeline/config';
import type { EncodedRecord } from '@video-pipeline/frame';
import { type Random, randomOf } from '../support/random.ts';
import { type Accounting, account, isSound } from './accounting.ts';
import { drawSchedule, type Fault, type Planned } from './faults.ts';
import { type Entry, type FrameKind, recordOf } from './ledger.ts';
import { type Rig, startRig } from './rig.ts';

export interface CampaignOptions {
  seed: number;
  /** Frames published in all, poison among them. */
  frames: number;
  /** Faults played. */
  faults: number;
  /** What they are drawn from; left out, all there are. */
  among?: readonly Fault[];
  /** 1..16 */
  streams: number;
  handlerTimeoutSeconds: number;
  /** Where Kafka keeps its data; left out, with everything else. */
  kafkaDir?: string;
  /** Nodes of Kafka; left out, one. */
  brokers?: number;
  /** How annotate stores; left out, each frame as an object. */
  store?: Value<'STORE'>;
  /** Takes a line on what happens. */
  note(line: string): void;
}

export interface Outcome extends Accounting {
  /** Frames that Kafka acknowledged. */
  acknowledged: number;
  /** Faults played, by name. */
  played: Map<string, number>;
  /** Wire faults and orders to handlers that nothing met before the end. */
  unmet: number;
  /** From the first frame published until the stages had nothing left, seconds. */
  seconds: number;
  /** How long each send took until all its records were acknowledged, milliseconds, in ascending order. */
  sends: number[];
}

const SEND = 25;
/** Frames on their way, at most: faults are to meet work. */
const BACKLOG = 400;
/** Without a stored frame, or a finished record, for so long the campaign has failed. */
const STALL_MS = 240_000;
const LOOK_MS = 100;

/**
 * Plays a schedule of faults on the whole pipeline while frames are published, and then accounts for each frame. Logs
 * and data stay, and `note` says where, when the accounts are not sound.
 */
export async function runCampaign(options: CampaignOptions): Promise<Outcome> {
  const rig = await startRig(options);
  let isClear = false;
  try {
    const outcome = await new Campaign(rig, options).run();
    isClear = isSound(outcome);
    return outcome;
  } finally {
    await rig.stop();
    if (isClear) await rm(rig.folder, { recursive: true, force: true });
    else options.note(`logs and data are in ${rig.folder}`);
  }
}

class Campaign {
  readonly #rig: Rig;
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #plan: Planned[];
  readonly #ledger: Entry[] = [];
  readonly #played = new Map<string, number>();
  readonly #underWay = new Set<Promise<void>>();
  /** Kinds of the next frames; good ones when there are none. */
  readonly #next: FrameKind[] = [];
  readonly #numbers: number[];
  readonly #sends: number[] = [];
  #acknowledgedGood = 0;

  constructor(rig: Rig, options: CampaignOptions) {
    this.#rig = rig;
    this.#options = options;
    this.#random = randomOf(options.seed);
    this.#plan = drawSchedule(this.#random, options.frames, options.faults, options.among);
    this.#numbers = new Array(options.streams).fill(0);
  }

  async run(): Promise<Outcome> {
    const started = performance.now();
    while (this.#ledger.length < this.#options.frames) {
      this.#playUpTo(this.#ledger.length);
      await this.#publishSome();
      await this.#waitFor(() => this.#acknowledgedGood - this.#rig.stored() < BACKLOG);
    }
    this.#playUpTo(Number.POSITIVE_INFINITY);
    while (this.#next.length > 0) await this.#publishSome();
    await Promise.all(this.#underWay);
    this.#options.note('every frame is published');
    await this.#drain();
    this.#options.note('every frame is finished');
    const seconds = (performance.now() - started) / 1000;
    const { wires } = this.#rig;
    return {
      ...(await account(this.#rig, this.#ledger)),
      acknowledged: this.#ledger.length,
      played: this.#played,
      unmet: wires.model.armed() + wires.s3.armed() + this.#rig.untold(),
      seconds,
      sends: this.#sends.sort((one, other) => one - other),
    };
  }

  #playUpTo(published: number): void {
    while (this.#plan[0] && this.#plan[0].at <= published) {
      const { at, fault } = this.#plan.shift() as Planned;
      this.#options.note(`frame ${at}: ${fault.name}`);
      this.#played.set(fault.name, (this.#played.get(fault.name) ?? 0) + 1);
      const scene = {
        rig: this.#rig,
        random: this.#random,
        publishNext: (kinds: FrameKind[]) => void this.#next.push(...kinds),
      };
      const playing = Promise.resolve(fault.play(scene)).finally(() => this.#underWay.delete(playing));
      this.#underWay.add(playing);
    }
  }

  async #publishSome(): Promise<void> {
    const byTopic = new Map<string, { entry: Entry; record: EncodedRecord }[]>();
    for (let count = 0; count < SEND; count++) {
      const made = await recordOf(this.#nextName(), this.#next.shift() ?? 'good');
      byTopic.set(made.entry.topic, [...(byTopic.get(made.entry.topic) ?? []), made]);
    }
    for (const [topic, made] of byTopic) {
      const records = made.map(({ record }) => record);
      this.#sends.push(await this.#rig.publish(topic, records));
      this.#ledger.push(...made.map(({ entry }) => entry));
      this.#acknowledgedGood += made.filter(({ entry }) => entry.fate === 'annotated').length;
    }
  }

  #nextName() {
    const stream = this.#random.integer(0, this.#options.streams - 1);
    const number = this.#numbers[stream] ?? 0;
    this.#numbers[stream] = number + 1;
    return { stream, number };
  }

  /** Until both stages have finished what they were given. */
  async #drain(): Promise<void> {
    const { services, brokers } = this.#rig;
    await Promise.all([...brokers, ...Object.values(services)].map((service) => service.running()));
    // Kafka may still be on its way back.
    await this.#waitFor(async () => (await this.#rig.lag().catch(() => Number.NaN)) === 0);
  }

  async #waitFor(isDone: () => boolean | Promise<boolean>): Promise<void> {
    let stored = this.#rig.stored();
    let since = performance.now();
    while (!(await isDone())) {
      await sleep(LOOK_MS);
      if (this.#rig.stored() > stored) {
        stored = this.#rig.stored();
        since = performance.now();
      }
      if (performance.now() - since > STALL_MS) {
        throw new Error(`nothing was stored for ${STALL_MS / 1000} s`);
      }
    }
  }
}
