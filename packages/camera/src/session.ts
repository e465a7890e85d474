import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import type { Outlet } from './channel.ts';
import type { Transport } from './rtsp-message.ts';

/** Bytes that may wait in a client's TCP socket before pictures are skipped. */
const MAX_BACKLOG = 1024 * 1024;

/** The two sockets for all UDP clients. */
export interface UdpPair {
  rtp: UdpSocket;
  rtcp: UdpSocket;
}

/** Carries packets inside the RTSP connection, each after `$`, its channel and its length (RFC 2326, 10.12). */
export function interleavedOutlet(
  socket: Pick<Socket, 'writableLength' | 'write'>,
  [rtp, rtcp]: [number, number],
): Outlet {
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

function interleave(packets: Buffer[], channel: number): Buffer {
  const framed = Buffer.allocUnsafe(packets.reduce((sum, packet) => sum + 4 + packet.length, 0));
  let at = 0;
  for (const packet of packets) {
    framed[at] = 0x24;
    framed[at + 1] = channel;
    framed.writeUInt16BE(packet.length, at + 2);
    at += 4 + packet.copy(framed, at + 4);
  }
  return framed;
}

/** Sends packets as datagrams. Packets that the network drops are lost, as usual with UDP. */
export function udpOutlet(sockets: UdpPair, address: string, [rtp, rtcp]: [number, number]): Outlet {
  const ignore = () => {};
  return {
    sendRtp(packets) {
      for (const packet of packets) sockets.rtp.send(packet, rtp, address, ignore);
    },
    sendRtcp: (packet) => sockets.rtcp.send(packet, rtcp, address, ignore),
    ready: () => true,
  };
}

/** The Transport header that accepts `transport` (RFC 2326, 12.39). */
export function acceptTransport(transport: Transport, udp: UdpPair, ssrc: number | undefined): string {
  const source = ssrc === undefined ? '' : `;ssrc=${ssrc.toString(16).padStart(8, '0').toUpperCase()}`;
  if (transport.kind === 'tcp') {
    return `RTP/AVP/TCP;unicast;interleaved=${transport.channels.join('-')}${source}`;
  }
  const ports = [udp.rtp.address().port, udp.rtcp.address().port];
  return `RTP/AVP;unicast;client_port=${transport.ports.join('-')};server_port=${ports.join('-')}${source}`;
}
