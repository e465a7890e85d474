import type { Channel, PacketSink, Playback } from './channel.ts';
import { describeTrack } from './sdp.ts';

/** Lines of a session description that are kept: how to read the packets. Addresses are left out. */
const KEPT = /^(m=video |b=|a=(rtpmap|fmtp|framerate|framesize|x-dimensions):)/;

/** Forwards the packets of one video track unchanged to all viewers. */
export class Relay implements Channel {
  readonly #viewers = new Map<PacketSink, () => void>();
  #track: string[] | undefined;

  /**
   * @param description session description of the source (RFC 4566)
   * @param track number of the video track, from 0
   */
  begin(description: string, track: number): void {
    const medias = description.split(/^(?=m=)/m).filter((media) => media.startsWith('m=video '));
    const lines = medias[track]?.split(/\r?\n/).filter((line) => KEPT.test(line));
    this.#track = lines?.map((line) => line.replace(/^m=video \d+/, 'm=video 0'));
  }

  /** @param packets of one picture, or of a part of it */
  rtp(packets: Buffer[]): void {
    for (const outlet of this.#viewers.keys()) if (outlet.ready()) outlet.sendRtp(packets);
  }

  rtcp(packet: Buffer): void {
    for (const outlet of this.#viewers.keys()) if (outlet.ready()) outlet.sendRtcp(packet);
  }

  /** The source has ended. The next one may send other video, so each viewer has to connect again. */
  end(): void {
    this.#track = undefined;
    for (const disconnect of this.#viewers.values()) disconnect();
    this.#viewers.clear();
  }

  describe(name: string, host: string): string | undefined {
    return this.#track && describeTrack(name, host, this.#track);
  }

  play(outlet: PacketSink, disconnect: () => void): Playback {
    const track = this.#track;
    return {
      // The source may have ended since the DESCRIBE.
      start: () =>
        track && track === this.#track ? void this.#viewers.set(outlet, disconnect) : disconnect(),
      stop: () => void this.#viewers.delete(outlet),
    };
  }
}
