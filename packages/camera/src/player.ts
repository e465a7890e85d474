import { randomInt } from 'node:crypto';
import type { Channel, PacketSink, Playback } from './channel.ts';
import { CLOCK_RATE, type Clip } from './clip.ts';
import { packetize, type RtpState, senderReport } from './rtp.ts';
import { describeClip } from './sdp.ts';

const REPORT_INTERVAL_MS = 5_000;
const TICKS_PER_MS = CLOCK_RATE / 1000;

/** A channel that plays a clip to each client from the start. */
export const clipChannel = (clip: Clip): Channel => ({
  describe: (name, host) => describeClip(name, host, clip),
  play: (outlet) => new Player(clip, outlet),
});

/** Plays a clip to one client in real time, from its first key frame, again and again, on one continuous clock. */
export class Player implements Playback {
  readonly #rtp: RtpState = { ssrc: randomInt(2 ** 32), sequence: randomInt(2 ** 16), packets: 0, octets: 0 };
  /** RTP timestamp of the first picture. */
  readonly #firstTimestamp = randomInt(2 ** 32);
  readonly #clip: Clip;
  readonly #outlet: PacketSink;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #startedAt = 0;
  #reportedAt = 0;
  #index = 0;
  #round = 0;
  #waitingForKeyframe = false;

  constructor(clip: Clip, outlet: PacketSink) {
    this.#clip = clip;
    this.#outlet = outlet;
  }

  get ssrc(): number {
    return this.#rtp.ssrc;
  }

  get first(): string {
    return `seq=${this.#rtp.sequence};rtptime=${this.#firstTimestamp}`;
  }

  start(): void {
    this.#startedAt = performance.timeOrigin + performance.now();
    this.#send();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Sends the pictures that are due, and sleeps until the next one is. */
  #send(): void {
    let wait = this.#untilNext();
    for (; wait <= 0; wait = this.#untilNext()) this.#sendNext();
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  #untilNext(): number {
    return this.#startedAt + this.#ticks('dts') / TICKS_PER_MS - (performance.timeOrigin + performance.now());
  }

  /** Time of the next picture since the start of the first round, ticks. */
  #ticks(time: 'dts' | 'pts'): number {
    const { units, duration } = this.#clip;
    return (units[this.#index]?.[time] ?? 0) - (units[0]?.[time] ?? 0) + this.#round * duration;
  }

  #sendNext(): void {
    const unit = this.#clip.units[this.#index];
    const timestamp = this.#firstTimestamp + this.#ticks('pts');
    this.#waitingForKeyframe = !this.#outlet.ready() || (this.#waitingForKeyframe && !unit?.keyframe);
    if (unit && !this.#waitingForKeyframe) {
      this.#report();
      const sets = unit.keyframe ? [this.#clip.sps, this.#clip.pps] : [];
      this.#outlet.sendRtp(packetize([...sets, ...unit.nals], timestamp % 2 ** 32, this.#rtp));
    }
    this.#index += 1;
    if (this.#index === this.#clip.units.length) {
      this.#index = 0;
      this.#round += 1;
    }
  }

  // A B-frame is sent after the picture that it precedes. So pictures are captured up to the reordering delay before
  // they are sent.
  #report(): void {
    const now = performance.timeOrigin + performance.now();
    if (now - this.#reportedAt < REPORT_INTERVAL_MS) return;
    this.#reportedAt = now;
    const first = this.#clip.units[0];
    const delay = this.#clip.reorderDelay - (first ? first.pts - first.dts : 0);
    const ticks = (now - this.#startedAt) * TICKS_PER_MS + delay;
    this.#outlet.sendRtcp(senderReport(now, Math.round(this.#firstTimestamp + ticks) % 2 ** 32, this.#rtp));
  }
}
