/** RTP and RTCP of a sender: RFC 3550, and RFC 6184 for H.264. */

/** Most bytes of an RTP packet. With IP and UDP headers it still fits into one Ethernet frame. */
const MAX_PACKET = 1400;
const RTP_HEADER = 12;
/** Dynamic payload type that our SDP names (RFC 3551, section 6). */
export const PAYLOAD_TYPE = 96;
/** NAL unit type of a fragment (RFC 6184, 5.8). */
const FU_A = 28;
/** Seconds from 1900, where NTP begins, to 1970. */
const NTP_EPOCH = 2_208_988_800;

/** Sequence number and counts of one RTP stream. */
export interface RtpState {
  ssrc: number;
  sequence: number;
  packets: number;
  octets: number;
}

/**
 * Cuts one access unit into RTP packets: single NAL units and FU-A fragments. The last packet has the marker bit.
 * @param timestamp of the picture, 90 kHz, modulo 2^32
 */
export function packetize(nals: Buffer[], timestamp: number, state: RtpState): Buffer[] {
  const packets: Buffer[] = [];
  nals.forEach((nal, index) => {
    const lastNal = index === nals.length - 1;
    if (nal.length <= MAX_PACKET - RTP_HEADER) {
      const packet = header(nal.length, timestamp, lastNal, state);
      nal.copy(packet, RTP_HEADER);
      packets.push(packet);
    } else packets.push(...fragments(nal, timestamp, lastNal, state));
  });
  return packets;
}

function fragments(nal: Buffer, timestamp: number, lastNal: boolean, state: RtpState): Buffer[] {
  const room = MAX_PACKET - RTP_HEADER - 2;
  const first = nal.readUInt8(0);
  const packets: Buffer[] = [];
  for (let at = 1; at < nal.length; at += room) {
    const end = Math.min(at + room, nal.length);
    const isLast = end === nal.length;
    const packet = header(2 + end - at, timestamp, lastNal && isLast, state);
    // FU indicator keeps F and NRI; FU header has start, end, and the type (RFC 6184, 5.8).
    packet[RTP_HEADER] = (first & 0xe0) | FU_A;
    packet[RTP_HEADER + 1] = (at === 1 ? 0x80 : 0) | (isLast ? 0x40 : 0) | (first & 0x1f);
    nal.copy(packet, RTP_HEADER + 2, at, end);
    packets.push(packet);
  }
  return packets;
}

/** A packet with its fixed header (RFC 3550, 5.1) and room for `size` bytes of payload. */
function header(size: number, timestamp: number, marker: boolean, state: RtpState): Buffer {
  const packet = Buffer.allocUnsafe(RTP_HEADER + size);
  packet[0] = 0x80;
  packet[1] = (marker ? 0x80 : 0) | PAYLOAD_TYPE;
  packet.writeUInt16BE(state.sequence, 2);
  packet.writeUInt32BE(timestamp >>> 0, 4);
  packet.writeUInt32BE(state.ssrc, 8);
  state.sequence = (state.sequence + 1) & 0xffff;
  state.packets += 1;
  state.octets += size;
  return packet;
}

/**
 * An RTCP compound of sender report and CNAME (RFC 3550, 6.4.1 and 6.5.1): the wall-clock time of an RTP
 * timestamp.
 * @param wallClock epoch milliseconds at which a picture with `timestamp` is captured
 */
export function senderReport(wallClock: number, timestamp: number, state: RtpState): Buffer {
  const cname = Buffer.from('camera');
  const sdes = Buffer.alloc(Math.ceil((8 + 2 + cname.length + 1) / 4) * 4);
  sdes.writeUInt32BE(0x81_ca_00_00 + sdes.length / 4 - 1, 0);
  sdes.writeUInt32BE(state.ssrc, 4);
  sdes[8] = 1;
  sdes[9] = cname.length;
  cname.copy(sdes, 10);

  const report = Buffer.alloc(28);
  const seconds = Math.floor(wallClock / 1000);
  report.writeUInt32BE(0x80_c8_00_06, 0);
  report.writeUInt32BE(state.ssrc, 4);
  report.writeUInt32BE((seconds + NTP_EPOCH) >>> 0, 8);
  report.writeUInt32BE(Math.floor(((wallClock - seconds * 1000) / 1000) * 2 ** 32) >>> 0, 12);
  report.writeUInt32BE(timestamp >>> 0, 16);
  report.writeUInt32BE(state.packets >>> 0, 20);
  report.writeUInt32BE(state.octets >>> 0, 24);
  return Buffer.concat([report, sdes]);
}
