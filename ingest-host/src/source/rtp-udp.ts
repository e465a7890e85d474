import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { FRAMING, interleave } from '@video-pipeline/camera';
import { SourceError } from './source-error.ts';

/** Most attempts to find two neighbouring ports. */
const MAX_TRIES = 20;
/** Most packets that wait for a late one. */
const MAX_HELD = 32;
/** Longest wait for a late packet, if packets come rarely, milliseconds; FFmpeg waits as long. */
const MAX_WAIT_MS = 500;
/** If all packets are late for this long, the camera has set its numbers back, milliseconds. */
const MAX_LATE_MS = 1_000;
const RECEIVE_BUFFER = 2 * 1024 * 1024;

/** One track's RTP and RTCP over UDP, each on its own port (RFC 3550, 11), converted to the framing of TCP. */
export class UdpTrack {
  readonly #rtp: Socket;
  readonly #rtcp: Socket;
  readonly #camera: string;
  readonly #held = new Map<number, Buffer>();
  #next: number | undefined;
  /** When a packet was last in order, or began to wait. */
  #since = 0;
  #rtcpPort: number | undefined;

  private constructor(rtp: Socket, rtcp: Socket, camera: string) {
    this.#rtp = rtp;
    this.#rtcp = rtcp;
    this.#camera = camera;
  }

  /**
   * @param camera address of the camera; packets from other addresses are ignored
   * @throws SourceError
   */
  static async open(camera: string): Promise<UdpTrack> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const one = await bound(camera, 0).catch(() => undefined);
      // RTP has the even one of two ports (RFC 3550, 11). Some cameras refuse an odd one, or send to the port before.
      const other = one && (await bound(camera, one.address().port ^ 1).catch(() => undefined));
      if (one && other)
        return one.address().port % 2 === 0
          ? new UdpTrack(one, other, camera)
          : new UdpTrack(other, one, camera);
      one?.close();
    }
    throw new SourceError('open: there are no two free UDP ports next to each other');
  }

  /**
   * Joins the multicast group of the camera, on the network interface that reaches the camera.
   * @param camera address of the camera; packets from other addresses are ignored
   * @param transport Transport header of the camera's answer: `RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001`
   *   (RFC 2326, 12.39)
   * @throws SourceError
   */
  static async join(camera: string, transport: string, local: string | undefined): Promise<UdpTrack> {
    const group = /;destination=([^;,]+)/i.exec(transport)?.[1]?.trim() ?? '';
    const [, first = 0, second = Number(first) + 1] = /;port=(\d+)(?:-(\d+))?/i.exec(transport) ?? [];
    const ports = [first, second].map(Number);
    if (!isMulticast(group) || ports.some((port) => !(port > 0 && port < 65_536)))
      throw new SourceError('open: the camera names no group to join: it may not know multicast', true);
    const network = isIP(group) === 4 && local ? plain(local) : undefined;
    const rtp = await joined(group, ports[0] ?? 0, network);
    try {
      return new UdpTrack(rtp, await joined(group, ports[1] ?? 0, network), camera);
    } catch (error) {
      rtp.close();
      throw error;
    }
  }

  /** `5000-5001` */
  get ports(): string {
    return `${this.#rtp.address().port}-${this.#rtcp.address().port}`;
  }

  /**
   * @param channel RTP channel; the RTCP channel is the next one
   * @param onPacket called with framed packets, RTP packets in order
   */
  receive(channel: number, onPacket: (framed: Buffer) => void): void {
    const from = (socket: Socket, take: (packet: Buffer) => void) =>
      socket.on('message', (packet, { address }) => {
        if (plain(address) === plain(this.#camera)) take(packet);
      });
    from(this.#rtp, (packet) => packet.length >= 12 && this.#sort(interleave([packet], channel), onPacket));
    from(this.#rtcp, (packet) => onPacket(interleave([packet], channel + 1)));
  }

  /** @param ports the camera's own: `6000-6001` */
  sendTo(ports: string): void {
    const [rtp = 0, rtcp = rtp + 1] = ports.split('-').map(Number);
    this.#rtcpPort = rtcp;
    // Opens the way through a NAT router, which accepts packets only as answers.
    this.#send(this.#rtp, Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), rtp);
    this.report(Buffer.from([0x80, 201, 0, 1, 0, 0, 0, 0]));
  }

  /** @param rtcp without framing */
  report(rtcp: Buffer): void {
    if (this.#rtcpPort !== undefined) this.#send(this.#rtcp, rtcp, this.#rtcpPort);
  }

  #send(socket: Socket, packet: Buffer, port: number): void {
    if (port > 0 && port < 65_536) socket.send(packet, port, this.#camera, () => {});
  }

  #sort(packet: Buffer, onPacket: (framed: Buffer) => void): void {
    const sequence = packet.readUInt16BE(FRAMING + 2);
    const now = performance.now();
    if (this.#ahead(sequence) >= 0x8000) {
      // It came too late, or twice.
      if (now - this.#since < MAX_LATE_MS) return;
      this.#held.clear();
      this.#next = sequence;
    }
    if (this.#held.size === 0) this.#since = now;
    this.#held.set(sequence, packet);
    const ahead = this.#ahead(sequence);
    if (ahead > 0 && this.#held.size <= MAX_HELD && now - this.#since < MAX_WAIT_MS) return;
    const byNumber = (one: number, other: number) => this.#ahead(one) - this.#ahead(other);
    const nearest = ahead === 0 ? sequence : ([...this.#held.keys()].sort(byNumber)[0] ?? sequence);
    for (let at = nearest; ; at = (at + 1) & 0xffff) {
      const due = this.#held.get(at);
      this.#next = at;
      if (!due) break;
      this.#held.delete(at);
      onPacket(due);
    }
    this.#since = now;
  }

  #ahead(sequence: number): number {
    return (sequence - (this.#next ?? sequence)) & 0xffff;
  }

  close(): void {
    this.#rtp.close();
    this.#rtcp.close();
  }
}

export function isMulticast(address: string): boolean {
  return isIP(address) === 6
    ? /^ff/i.test(address)
    : isIP(address) === 4 && address >= '224' && address < '240';
}

/** @throws SourceError */
async function joined(group: string, port: number, network: string | undefined): Promise<Socket> {
  return await bound(group, port, (socket) => socket.addMembership(group, network)).catch((error) => {
    throw new SourceError(`open: can't join ${group}: ${error.message}`);
  });
}

/**
 * Opens a UDP socket.
 * @param address of the wanted family; with `join` the address that it listens on
 * @param join called once it listens, to join a multicast group
 */
export async function bound(address: string, port: number, join?: (socket: Socket) => void) {
  const type = address.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type, reuseAddr: join !== undefined });
  try {
    // To the group's address, so that other packets to this port are not received.
    socket.bind(port, join && address);
    await once(socket, 'listening');
    socket.on('error', () => {});
    join?.(socket);
    socket.setRecvBufferSize(RECEIVE_BUFFER);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** The plain IPv4 address of one that is mapped into IPv6; without the zone. */
function plain(address: string): string {
  return address.replace(/^::ffff:/i, '').replace(/%.*$/, '');
}
