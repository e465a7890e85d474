import { isKeyOfH265, type Loss, typeOfH265 } from './nal-units.ts';

/** Bytes of the frame header before each packet, with channel and length (RFC 2326, 10.12). */
export const FRAMING = 4;
const HEADER = 12;
/** Least packets of a key frame: it comes with its parameter sets. */
const LEAST_OF_KEY = 3;

export interface RtpEvents {
  /** Framed packets, all of one picture. */
  picture(packets: Buffer[]): void;
  /** Packets were lost. @param mayBeKey whether a whole key frame may be among them */
  gap(mayBeKey: boolean): void;
  /** A picture was left out, because packets of it were lost. @param loss its kind, if known */
  lost(loss: Loss | undefined): void;
}

/**
 * Groups the packets of one RTP stream (RFC 3550, 5.1) by pictures and leaves out incomplete pictures. A decoder would
 * decode them as if they were complete, and H.265's does not notice.
 */
export class RtpPictures {
  readonly #codecs: ReadonlyMap<number, string>;
  readonly #events: RtpEvents;
  #packets: Buffer[] = [];
  #next: number | undefined;
  #timestamp: number | undefined;
  #isWhole = true;

  /** @param codecs names by payload type, from the session description */
  constructor(codecs: ReadonlyMap<number, string>, events: RtpEvents) {
    this.#codecs = codecs;
    this.#events = events;
  }

  /** @param packet framed, in order */
  push(packet: Buffer): void {
    if (packet.length < FRAMING + HEADER) return;
    const sequence = packet.readUInt16BE(FRAMING + 2);
    const timestamp = packet.readUInt32BE(FRAMING + 4);
    const missing = (sequence - (this.#next ?? sequence)) & 0xffff;
    const isGap = missing !== 0;
    this.#next = (sequence + 1) & 0xffff;
    if (isGap) this.#events.gap(timestamp !== this.#timestamp && missing >= LEAST_OF_KEY);
    if (timestamp !== this.#timestamp) {
      // The lost packets may be the end of the former picture, or the start of this one.
      if (isGap) this.#isWhole = false;
      this.#end();
      this.#isWhole = !isGap || this.#isStart(packet);
      this.#timestamp = timestamp;
    } else if (isGap) this.#isWhole = false;
    this.#packets.push(packet);
    if (((packet[FRAMING + 1] ?? 0) & 0x80) !== 0) this.#end();
  }

  #end(): void {
    if (this.#packets.length > 0) {
      if (this.#isWhole) this.#events.picture(this.#packets);
      else {
        const losses = new Set(this.#packets.map((packet) => this.#lossOf(packet)));
        this.#events.lost(losses.has('key') ? 'key' : losses.has('reference') ? 'reference' : undefined);
      }
    }
    this.#packets = [];
    this.#isWhole = true;
  }

  /**
   * The kind of picture, from the header of its slice, whole or a fragment (RFC 6184, 5.3 and 5.8; RFC 7798, 4.4.3).
   */
  #lossOf(packet: Buffer): Loss | undefined {
    const { codec, byte } = this.#payload(packet);
    if (codec === 'H265') {
      const type = typeOfH265(byte(0));
      const slice = type === 49 ? byte(2) & 63 : type;
      return isKeyOfH265(slice) ? 'key' : undefined;
    }
    const type = byte(0) & 31;
    const slice = type === 28 ? byte(1) & 31 : type;
    if (codec !== 'H264' || (slice !== 1 && slice !== 5)) return undefined;
    if (slice === 5) return 'key';
    return (byte(0) & 0x60) === 0 ? undefined : 'reference';
  }

  /**
   * Whether a NAL unit begins here (RFC 6184, 5.8; RFC 7798, 4.4.3). If it is not the first, the decoder reports it.
   */
  #isStart(packet: Buffer): boolean {
    const { codec, byte } = this.#payload(packet);
    if (codec === 'H264') return (byte(0) & 31) !== 28 || (byte(1) & 0x80) !== 0;
    if (codec === 'H265') return typeOfH265(byte(0)) !== 49 || (byte(2) & 0x80) !== 0;
    return false;
  }

  #payload(packet: Buffer): { codec: string | undefined; byte: (offset: number) => number } {
    const first = packet[FRAMING] ?? 0;
    let at = FRAMING + HEADER + 4 * (first & 15);
    if ((first & 0x10) !== 0 && packet.length >= at + 4) at += 4 + 4 * packet.readUInt16BE(at + 2);
    const codec = this.#codecs.get((packet[FRAMING + 1] ?? 0) & 0x7f);
    return { codec, byte: (offset) => packet[at + offset] ?? 0 };
  }
}
