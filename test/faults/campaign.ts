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
  /** Number of published frames, poison included. */
  frames: number;
  /** Number of injected faults. */
  faults: number;
  /** Faults to draw from. Default: all. */
  among?: readonly Fault[];
  /** 1..16 */
  streams: number;
  handlerTimeoutSeconds: number;
  /** Folder of Kafka's data. Default: within the folder of the campaign. */
  kafkaDir?: string;
  /** Number of Kafka nodes. Default: one. */
  brokers?: number;
  /** STORE of annotate. Default: `frames`. */
  store?: Value<'STORE'>;
  /** PICTURES. Default: `twice`. */
  pictures?: Value<'PICTURES'>;
  /** Minutes during which the brokers are restarted one after another, without other faults, and without `frames`. */
  rollingMinutes?: number;
  /** Ends the campaign early. */
  signal?: AbortSignal;
  /** Gets a line of progress. */
  note(line: string): void;
}

export interface Outcome extends Accounting {
  /** Number of frames that Kafka acknowledged. */
  acknowledged: number;
  /** Number of injected faults by name. */
  played: Map<string, number>;
  /** Faults that no request and no batch met before the end. */
  unmet: number;
  /** Seconds from the first published frame until the lag of all stages was zero. */
  seconds: number;
  /** How long each send took until all its records were acknowledged, milliseconds, in ascending order. */
  sends: number[];
  /** For each fault of Kafka: the longest wait of each stream of the probe during the fault, milliseconds. */
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
/** The campaign fails after this time without a stored frame or a finished record. */
const STALL_MS = 240_000;
const LOOK_MS = 100;
const MEMORY_MS = 5_000;
/** How long the effect of a fault may last after its end, milliseconds. */
const AFTER_MS = 2_000;
/** Timeout of a fault, milliseconds. The campaign continues without a fault that hangs. */
const LONGEST_FAULT_MS = 180_000;
/** After this number of drawn frames, the memory of annotate does not grow any more. */
const WARM_FRAMES = 3_000;
/** Pause between two sends of a run of a given time, so that the machine has time for the restarts. */
const ROLLING_SEND_MS = 5_000;

/**
 * Injects a schedule of faults into the whole pipeline while frames are published, and then accounts for each frame. Logs
 * and data stay if the accounts have errors, and `note` gets their folder. In any case all processes are ended.
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
      unmet: wires.model.armed() + wires.s3.armed() + this.#rig.pendingFaults(),
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

  /** Waits until both stages have processed all records. */
  async #drain(): Promise<void> {
    const { services, brokers } = this.#rig;
    await Promise.all([...brokers, ...Object.values(services)].map((service) => service.running()));
    // Kafka may still be restarting.
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
