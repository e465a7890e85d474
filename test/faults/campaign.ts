import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Value } from '@video-pipeline/config';
import { annotatedKey, type EncodedRecord } from '@video-pipeline/frame';
import { held, staysFlat, thirds } from '../bench/processes.ts';
import { type Random, randomOf } from '../support/random.ts';
import { orAborted } from '../support/stopping.ts';
import { type Accounting, account, isSound } from './accounting.ts';
import { ROLLING_RESTART } from './cluster-faults.ts';
import { drawSchedule, FAULTS, type Fault, type Planned } from './faults.ts';
import { type Entry, type FrameKind, ON_DETECTIONS, placeOf, recordOf } from './ledger.ts';
import { longestWaits, type Wait } from './probe.ts';
import { PREFIX, type Rig, startRig } from './rig.ts';
import { endServices } from './service.ts';

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
  /** How often pictures travel over Kafka; left out, twice. */
  pictures?: Value<'PICTURES'>;
  /** For so long each broker is restarted in turn, again and again, and no other fault is played; without `frames`. */
  rollingMinutes?: number;
  /** Ends it before its time. */
  signal?: AbortSignal;
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
  /** By fault of Kafka's: how long each stream of the probe waited at most while it was played, milliseconds. */
  pauses: Map<string, number[]>;
  /** The same for the stages: from when Kafka had a frame until S3 had its picture. */
  stagePauses: Map<string, number[]>;
  /** How long each frame of the probe waited for Kafka, milliseconds. */
  waits: number[];
  /**
   * Resident memory of each process in the first and the last third of the run, medians, MiB. Where only brokers are restarted:
   * once warm, and of Node's with their garbage collected every 20 s.
   */
  memory: Map<string, [first: number, last: number]>;
}

/** Whether no process grew. */
export function isFlat({ memory }: Outcome): boolean {
  return [...memory.values()].every(staysFlat);
}

const SEND = 25;
/** Frames on their way, at most: faults are to meet work. */
const BACKLOG = 400;
/** Without a stored frame, or a finished record, for so long the campaign has failed. */
const STALL_MS = 240_000;
const LOOK_MS = 100;
const MEMORY_MS = 5_000;
/** A fault's effect may last longer than it is played, milliseconds. */
const AFTER_MS = 2_000;
/** A fault that lasts longer hangs itself: the frames are accounted for without it, milliseconds. */
const LONGEST_FAULT_MS = 180_000;
/** So many frames annotate has drawn until its memory stays at what V8 and glibc keep: it does not grow after them. */
const WARM_FRAMES = 3_000;
/** Between two sends of a run that lasts a given time: the machine is to have room for the restarts. */
const ROLLING_SEND_MS = 5_000;

/**
 * Plays a schedule of faults on the whole pipeline while frames are published, and then accounts for each frame. Logs
 * and data stay, and `note` says where, when the accounts are not sound. However it ends, no process of it is left.
 * @throws what `signal` gives as its reason
 */
export async function runCampaign(options: CampaignOptions): Promise<Outcome> {
  const { signal, note } = options;
  const folder = await mkdtemp(join(tmpdir(), 'faults-'));
  let isClear = false;
  try {
    const outcome = await orAborted(play(folder, options), signal);
    isClear = isSound(outcome);
    return outcome;
  } finally {
    await endServices();
    if (isClear || signal?.aborted) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    else note(`logs and data are in ${folder}`);
  }
}

async function play(folder: string, options: CampaignOptions): Promise<Outcome> {
  const rig = await startRig({ ...options, folder });
  try {
    return await new Campaign(rig, options).run();
  } finally {
    await rig.stop();
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
  readonly #windows: { name: string; from: number; to: number }[] = [];
  readonly #acknowledgedAt = new Map<Entry, number>();
  readonly #memory = new Map<string, number[]>();
  #acknowledgedGood = 0;

  constructor(rig: Rig, options: CampaignOptions) {
    this.#rig = rig;
    this.#options = options;
    this.#random = randomOf(options.seed);
    const { frames, faults, among = FAULTS, pictures } = options;
    // Where pictures travel once, nobody but subscribers reads the topic of detections.
    const met = among.filter(({ name }) => pictures !== 'once' || name !== `poison: ${ON_DETECTIONS}`);
    this.#plan = drawSchedule(this.#random, frames, faults, met);
    this.#numbers = new Array(options.streams).fill(0);
  }

  async run(): Promise<Outcome> {
    const started = performance.now();
    const sampling = setInterval(() => this.#sampleMemory(), MEMORY_MS);
    if (this.#options.rollingMinutes) await this.#roll(this.#options.rollingMinutes * 60_000);
    else await this.#publishAll();
    while (this.#next.length > 0) await this.#publishSome();
    await this.#waitFor(() => this.#underWay.size === 0);
    this.#options.note('every frame is published');
    await this.#drain();
    clearInterval(sampling);
    this.#options.note('every frame is finished');
    const seconds = (performance.now() - started) / 1000;
    const published = await this.#rig.stopIngest();
    const { wires, waits } = this.#rig;
    const pausesIn = (all: readonly Wait[]) =>
      new Map(
        Array.from(
          Map.groupBy(this.#windows, ({ name }) => name),
          ([name, windows]) => [
            name,
            windows.flatMap(({ from, to }) => longestWaits(all, from, to + AFTER_MS)),
          ],
        ),
      );
    return {
      ...(await account(this.#rig, this.#ledger, published)),
      pauses: pausesIn(waits),
      stagePauses: pausesIn(this.#stageWaits()),
      waits: waits.map(({ offered, acknowledged }) => acknowledged - offered),
      memory: new Map(Array.from(this.#memory, ([name, sizes]) => [name, thirds(sizes)])),
      acknowledged: this.#ledger.length,
      played: this.#played,
      unmet: wires.model.armed() + wires.s3.armed() + this.#rig.untold(),
      seconds,
      sends: this.#sends.sort((one, other) => one - other),
    };
  }

  async #publishAll(): Promise<void> {
    while (this.#ledger.length < this.#options.frames) {
      this.#playUpTo(this.#ledger.length);
      await this.#publishSome();
      await this.#waitFor(() => this.#acknowledgedGood - this.#rig.stored() < BACKLOG);
    }
    this.#playUpTo(Number.POSITIVE_INFINITY);
  }

  async #roll(milliseconds: number): Promise<void> {
    while (this.#ledger.length < WARM_FRAMES) {
      await this.#publishSome();
      await this.#waitFor(() => this.#acknowledgedGood - this.#rig.stored() < BACKLOG);
    }
    this.#memory.clear();
    for (const end = performance.now() + milliseconds; performance.now() < end; ) {
      if (this.#underWay.size === 0) this.#play(ROLLING_RESTART);
      await this.#publishSome();
      await sleep(ROLLING_SEND_MS);
      await this.#waitFor(() => this.#acknowledgedGood - this.#rig.stored() < BACKLOG);
    }
  }

  #playUpTo(published: number): void {
    while (this.#plan[0] && this.#plan[0].at <= published) this.#play((this.#plan.shift() as Planned).fault);
  }

  #play(fault: Fault): void {
    this.#options.note(`frame ${this.#ledger.length}: ${fault.name}`);
    const window = { name: fault.name, from: performance.now(), to: Number.POSITIVE_INFINITY };
    if (/^(cluster|kafka): /.test(fault.name)) this.#windows.push(window);
    this.#played.set(fault.name, (this.#played.get(fault.name) ?? 0) + 1);
    const scene = {
      rig: this.#rig,
      random: this.#random,
      publishNext: (kinds: FrameKind[]) => void this.#next.push(...kinds),
    };
    const late = setTimeout(() => {
      this.#options.note(
        `${fault.name} has not ended after ${LONGEST_FAULT_MS / 1000} s; it is left to itself`,
      );
      this.#underWay.delete(playing);
    }, LONGEST_FAULT_MS);
    const playing = Promise.resolve(fault.play(scene)).finally(() => {
      clearTimeout(late);
      window.to = performance.now();
      this.#underWay.delete(playing);
    });
    this.#underWay.add(playing);
  }

  #stageWaits(): Wait[] {
    return Array.from(this.#acknowledgedAt, ([{ name }, offered]) => ({
      stream: String(name.stream),
      offered,
      acknowledged: this.#rig.storedAt(annotatedKey(PREFIX, placeOf(name))) ?? offered,
    }));
  }

  #sampleMemory(): void {
    const { services, ingestHosts } = this.#rig;
    const processes = {
      ...services,
      ...Object.fromEntries(ingestHosts.map((one, index) => [`ingest-${index + 1}`, one])),
    };
    for (const [name, { pid }] of [...Object.entries(processes), ['campaign', process] as const]) {
      const size = pid && held(pid).residentMiB;
      if (size) this.#memory.set(name, [...(this.#memory.get(name) ?? []), size]);
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
      const acknowledged = performance.now();
      for (const { entry } of made) this.#acknowledgedAt.set(entry, acknowledged);
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
        const played = this.#windows
          .filter(({ to }) => to === Number.POSITIVE_INFINITY)
          .map(({ name }) => name);
        throw new Error(`nothing was stored for ${STALL_MS / 1000} s; still played: ${played.join(', ')}`);
      }
    }
  }
}
