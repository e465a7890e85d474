/** Destination of a client's packets. */
export interface PacketSink {
  sendRtp(packets: Buffer[]): void;
  sendRtcp(packet: Buffer): void;
  /** Whether the client keeps up. While it doesn't, pictures are skipped. */
  ready(): boolean;
}

/** The video of one path, for all clients. */
export interface Channel {
  /**
   * Describes the session (SDP).
   * @param name of the path
   * @param host address that the client reached
   * @returns session description; undefined while there is no video
   */
  describe(name: string, host: string): string | undefined;
  /** @param disconnect closes the client's connection */
  play(outlet: PacketSink, disconnect: () => void): Playback;
}

/** The playing of one client. */
export interface Playback {
  /** SSRC of the packets, if it is known (RFC 3550, 5.1). */
  readonly ssrc?: number;
  /** First packet for RTP-Info, if it is known: `seq=1;rtptime=2` (RFC 2326, 12.33). */
  readonly first?: string;
  start(): void;
  stop(): void;
}
