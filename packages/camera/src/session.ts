import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import type { PacketSink } from './channel.ts';
import { FRAMING } from './rtsp-message.ts';

/** Bytes that may wait in a client's TCP socket before pictures are skipped. */
const MAX_BACKLOG = 1024 * 1024;

/** The two sockets for all UDP clients. */
export interface UdpPair {
  rtp: UdpSocket;
  rtcp: UdpSocket;
}

/** Carries packets inside the RTSP connection. */
export function interleavedSink(
  socket: Pick<Socket, 'writableLength' | 'write'>,
  [rtp, rtcp]: [number, number],
): PacketSink {
  let behind = false;
  return {
    // One write for a whole picture: a write for each packet would cost a system call for each.
    sendRtp: (packets) => void socket.write(interleave(packets, rtp)),
    sendRtcp: (packet) => void socket.write(interleave([packet], rtcp)),
    ready() {
      behind = socket.writableLength > (behind ? MAX_BACKLOG / 4 : MAX_BACKLOG);
      return !behind;
    },
  };
}

/** Packets for an RTSP connection, each after `$`, its channel and its length (RFC 2326, 10.12). */
export function interleave(packets: readonly Buffer[], channel: number): Buffer {
  const framed = Buffer.allocUnsafe(packets.reduce((sum, packet) => sum + FRAMING + packet.length, 0));
  let at = 0;
  for (const packet of packets) {
    framed[at] = 0x24;
    framed[at + 1] = channel;
    framed.writeUInt16BE(packet.length, at + 2);
    at += FRAMING + packet.copy(framed, at + FRAMING);
  }
  return framed;
}

/** Sends packets as datagrams. Packets that the network drops are lost, as usual with UDP. */
function udpSink(sockets: UdpPair, address: string, [rtp, rtcp]: [number, number]): PacketSink {
  const ignore = () => {};
  return {
    sendRtp(packets) {
      for (const packet of packets) sockets.rtp.send(packet, rtp, address, ignore);
    },
    sendRtcp: (packet) => sockets.rtcp.send(packet, rtcp, address, ignore),
    ready: () => true,
  };
}

/**
 * The first of the offered transports that is supported (RFC 2326, 12.39). The first port or channel is for RTP, the
 * second for RTCP.
 * @param header Transport of the request
 * @returns where the packets go, and Transport of the answer
 */
export function acceptTransport(
  header: string,
  socket: Pick<Socket, 'writableLength' | 'write' | 'remoteAddress'>,
  udp: UdpPair,
): { outlet: PacketSink; accepted: string } | undefined {
  for (const offer of header.split(',')) {
    const [profile = '', ...parameters] = offer.trim().split(';');
    const value = (name: string) =>
      parameters.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
    if (/^RTP\/AVP\/TCP$/i.test(profile)) {
      const channels = pair(value('interleaved') ?? '0-1', 255);
      const accepted = `RTP/AVP/TCP;unicast;interleaved=${channels?.join('-')}`;
      if (channels) return { outlet: interleavedSink(socket, channels), accepted };
    } else if (/^RTP\/AVP(\/UDP)?$/i.test(profile) && !parameters.includes('multicast')) {
      const ports = pair(value('client_port') ?? '', 65_535);
      const own = [udp.rtp.address().port, udp.rtcp.address().port];
      const accepted = `RTP/AVP;unicast;client_port=${ports?.join('-')};server_port=${own.join('-')}`;
      if (ports) return { outlet: udpSink(udp, socket.remoteAddress ?? '127.0.0.1', ports), accepted };
    }
  }
  return undefined;
}

function pair(text: string, max: number): [number, number] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const second = Number(match[2] ?? first + 1);
  return first <= max && second <= max ? [first, second] : undefined;
}
