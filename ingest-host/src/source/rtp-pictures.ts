/** Bytes before each packet that say its channel and length (RFC 2326, 10.12). */
export const FRAMING = 4;
const HEADER = 12;

export interface RtpEvents {
  /** Framed packets, all of one picture. */
  picture(packets: Buffer[]): void;
  /** Some packets did not come. */
  gap(): void;
  /** A picture was left out, as not all of its packets came. @param isReference whether others certainly build on it */
  lost(isReference: boolean): void;
}

/**
 * Packets of one RTP stream (RFC 3550, 5.1), by pictures: one with a hole would be decoded as if there were none, and H.265's
 * decoder does not notice.
 */
export class RtpPictures {
  readonly #codecs: ReadonlyMap<number, string>;
  readonly #events: RtpEvents;
  #packets: Buffer[] = [];
  #next: number | undefined;
  #timestamp: number | undefined;
  #isWhole = true;

  /** @param codecs by payload type, as the session description names them */
  constructor(codecs: ReadonlyMap<number, string>, events: RtpEvents) {
    this.#codecs = codecs;
    this.#events = events;
  }

  /** @param packet framed, in order */
  push(packet: Buffer): void {
    if (packet.length < FRAMING + HEADER) return;
    const sequence = packet.readUInt16BE(FRAMING + 2);
    const timestamp = packet.readUInt32BE(FRAMING + 4);
    const isGap = this.#next !== undefined && sequence !== this.#next;
    this.#next = (sequence + 1) & 0xffff;
    if (isGap) this.#events.gap();
    if (timestamp !== this.#timestamp) {
      // What is missing may be the end of the picture before, or this one's start.
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
      else this.#events.lost(this.#packets.some((packet) => this.#isReference(packet)));
    }
    this.#packets = [];
    this.#isWhole = true;
  }

  /** By what H.264 says in each packet (nal_ref_idc, RFC 6184, 5.3 and 5.8). */
  #isReference(packet: Buffer): boolean {
    const { codec, byte } = this.#payload(packet);
    const type = byte(0) & 31;
    // Of a fragment, or of a unit with a slice: parameter sets and the like say that they matter, too.
    return codec === 'H264' && (byte(0) & 0x60) !== 0 && (type === 1 || type === 5 || type === 28);
  }

  /** Whether a NAL unit begins with it (RFC 6184, 5.8; RFC 7798, 4.4.3): if that is not the picture's first, decoders say so. */
  #isStart(packet: Buffer): boolean {
    const { codec, byte } = this.#payload(packet);
    if (codec === 'H264') return (byte(0) & 31) !== 28 || (byte(1) & 0x80) !== 0;
    if (codec === 'H265') return ((byte(0) >> 1) & 63) !== 49 || (byte(2) & 0x80) !== 0;
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
