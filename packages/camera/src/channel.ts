/** Where a client's packets go. */
export interface Outlet {
  sendRtp(packets: Buffer[]): void;
  sendRtcp(packet: Buffer): void;
  /** Whether the client keeps up. While it doesn't, pictures are left out. */
  ready(): boolean;
}

/** What the clients of one path are shown. */
export interface Channel {
  /**
   * @param name of the path
   * @param host address that the client reached
   * @returns session description; undefined while there is nothing to show
   */
  describe(name: string, host: string): string | undefined;
  /** @param letGo closes the client's connection */
  play(outlet: Outlet, letGo: () => void): Playing;
}

/** One client's playing. */
export interface Playing {
  /** Of the packets, where it is known (RFC 3550, 5.1). */
  readonly ssrc?: number;
  /** What RTP-Info says of the first packet, where it is known: `seq=1;rtptime=2` (RFC 2326, 12.33). */
  readonly first?: string;
  start(): void;
  stop(): void;
}
