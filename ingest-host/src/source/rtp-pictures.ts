import type { Socket } from 'node:net';
import { FRAMING } from '@video-pipeline/camera';
import { MAX_BYTES_WITHOUT_PACKET } from './limits.ts';
import { isKeyOfH265, type Loss, lossMarkerOf, typeOfH265 } from './nal-units.ts';
import type { Damage, SourceOptions } from './source.ts';

const HEADER = 12;
/** Larger numbers are no payload types (RFC 3550, 5.1). */
const MAX_TYPE = 127;
/** A packet that is behind by more, or after more late ones, is not late: its sender has set its numbers back. */
const MAX_LATE = 64;

interface RtpEvents {
  /**
   * @param packets framed, all of one picture
   * @param mark for the decoder, framed: what was lost before the picture
   * @returns whether the picture was passed on
   */
  picture(packets: Buffer[], mark: Buffer | undefined): boolean;
  loss(): void;
  /** A picture was left out, because packets of it were lost. */
  lost(): void;
}

/** Names of codecs by payload type, from a session description (RFC 4566, 6). */
export function codecsOf(description: string): ReadonlyMap<number, string> {
  const all = [...description.matchAll(/^a=rtpmap:[ \t]*(\d{1,3})[ \t]+([^/\s]+)/gm)];
  const known = all.map(([, type, codec = '']) => [Number(type), codec.toUpperCase()] as const);
  return new Map(known.filter(([type]) => type <= MAX_TYPE));
}

/** A range with an end that is not 0: `npt=0-12.5`, `clock=20261125T070000Z-20261125T071000Z` (RFC 2326, C.1.5). */
const RECORDED = /^a=range:[^=\r\n]+=[^-\r\n]*-[\d:.TZ]*[1-9]/m;

/** Whether a session description is of a recording, which has an end. */
export function isRecording(description: string): boolean {
  return RECORDED.test(description);
}

/** Whether a framed packet is RTCP, as FFmpeg decides it (RFC 5761, 4): some cameras swap the channels. */
function isReport(framed: Buffer): boolean {
  const type = framed[FRAMING + 1] ?? 0;
  return (type >= 192 && type <= 195) || (type >= 200 && type <= 210);
}

/**
 * @param codecs called when the first packet of a channel has come
 * @param relayOf the relay that gets the packets of a framed packet's channel, too
 * @returns a handler of a camera's framed packets. It passes RTP on to `client` by complete pictures, and RTCP at once.
 */
export function passPictures(
  client: Socket,
  {
    codecs,
    relayOf,
    losses,
    damage,
  }: {
    codecs: () => ReadonlyMap<number, string>;
    relayOf: (framed: Buffer) => SourceOptions['relay'];
    losses: { gaps: number };
    damage: Damage | undefined;
  },
): (framed: Buffer) => void {
  const events: RtpEvents = {
    picture(packets, mark) {
      const relay = packets[0] && relayOf(packets[0]);
      relay?.rtp(packets.map((one) => one.subarray(FRAMING)));
      // A UDP sender can't be paused: pictures are dropped instead.
      if (client.writableLength > MAX_BYTES_WITHOUT_PACKET) return false;
      client.cork();
      for (const packet of mark ? [mark, ...packets] : packets) client.write(packet);
      client.uncork();
      return true;
    },
    loss() {
      losses.gaps += 1;
    },
    lost() {
      if (damage) damage.lost += 1;
    },
  };
  const channels = new Map<number, RtpPictures>();
  return (framed) => {
    if (isReport(framed)) {
      relayOf(framed)?.rtcp(framed.subarray(FRAMING));
      client.write(framed);
      return;
    }
    const channel = framed[1] ?? 0;
    const pictures = channels.get(channel) ?? new RtpPictures(codecs(), events);
    channels.set(channel, pictures);
    pictures.push(framed);
  };
}

/**
 * Groups the packets of one RTP stream (RFC 3550, 5.1) by pictures and leaves out incomplete pictures. A decoder would
 * decode them as if they were complete, and H.265's reports no error.
 */
export class RtpPictures {
  readonly #codecs: ReadonlyMap<number, string>;
  readonly #events: RtpEvents;
  #packets: Buffer[] = [];
  #next: number | undefined;
  /** Late packets in a row. */
  #late = 0;
  #timestamp: number | undefined;
  #isWhole = true;
  /** What was lost since the last picture that was passed on. */
  #loss: Loss = { packets: 0, isKey: false };

  /** @param codecs from {@link codecsOf} */
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
    // It came twice, or after its picture was given up: over TCP too, if a recorder passes on what came over UDP.
    this.#late = missing > 0xffff - MAX_LATE ? this.#late + 1 : 0;
    if (this.#late > 0 && this.#late <= MAX_LATE) return;
    const isGap = missing !== 0;
    this.#next = (sequence + 1) & 0xffff;
    if (isGap) this.#events.loss();
    if (timestamp !== this.#timestamp) {
      // The lost packets may be the end of the former picture, or the start of this one.
      if (isGap) this.#isWhole = false;
      this.#end();
      this.#isWhole = !isGap || this.#isStart(packet);
      this.#timestamp = timestamp;
    } else if (isGap) this.#isWhole &&= this.#isStart(packet) && this.#hasNoSlice;
    this.#loss.packets += missing;
    this.#packets.push(packet);
    if (((packet[FRAMING + 1] ?? 0) & 0x80) !== 0) this.#end();
  }

  #end(): void {
    const [first] = this.#packets;
    if (first && !(this.#isWhole && this.#events.picture(this.#packets, this.#mark(first)))) {
      this.#loss.packets += this.#isWhole ? this.#packets.length : 0;
      this.#loss.isKey ||= this.#packets.some((packet) => this.#isKey(packet));
      this.#events.lost();
    } else if (first) this.#loss = { packets: 0, isKey: false };
    this.#packets = [];
    this.#isWhole = true;
  }

  /** A packet with the mark, before the packets of the picture. */
  #mark(first: Buffer): Buffer | undefined {
    const { codec } = this.#payload(first);
    if (this.#loss.packets === 0 || (codec !== 'H264' && codec !== 'H265')) return undefined;
    const header = Buffer.from(first.subarray(0, FRAMING + HEADER));
    // Neither padding, extension nor sources; no marker.
    header[FRAMING] = 0x80;
    header[FRAMING + 1] = (header[FRAMING + 1] ?? 0) & 0x7f;
    const mark = Buffer.concat([header, lossMarkerOf(this.#loss, codec)]);
    mark.writeUInt16BE(mark.length - FRAMING, 2);
    return mark;
  }

  /** Whether it is of a key frame, by its slice's header, whole or in parts (RFC 6184, 5.3, 5.8; RFC 7798, 4.4.3). */
  #isKey(packet: Buffer): boolean {
    const { codec, byte } = this.#payload(packet);
    if (codec === 'H265') {
      const type = typeOfH265(byte(0));
      return isKeyOfH265(type === 49 ? byte(2) & 63 : type);
    }
    const type = byte(0) & 31;
    return codec === 'H264' && (type === 28 ? byte(1) & 31 : type) === 5;
  }

  /** Whether the picture has begun, but not its slices. */
  get #hasNoSlice(): boolean {
    return this.#packets.length > 0 && this.#packets.every((packet) => this.#isHeader(packet));
  }

  /** Whether it comes before the slices of a picture: a parameter set, a delimiter, or supplemental information. */
  #isHeader(packet: Buffer): boolean {
    const { codec, byte } = this.#payload(packet);
    if (codec === 'H265') return [32, 33, 34, 35, 39].includes(typeOfH265(byte(0)));
    return codec === 'H264' && [6, 7, 8, 9].includes(byte(0) & 31);
  }

  /** Whether a NAL unit begins here (RFC 6184, 5.8; RFC 7798, 4.4.3). If it isn't the first, the decoder reports it. */
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
