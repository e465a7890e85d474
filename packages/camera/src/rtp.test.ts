import { expect, test } from 'vitest';
import { packetize, type RtpState, senderReport } from './rtp.ts';

const newState = (): RtpState => ({ ssrc: 0x12345678, sequence: 65_534, packets: 0, octets: 0 });

/** NAL units out of RTP payloads, by RFC 6184, 5.6 and 5.8. */
function depacketize(packets: Buffer[]): Buffer[] {
  const nals: Buffer[] = [];
  for (const packet of packets) {
    const payload = packet.subarray(12);
    const [indicator = 0, fu = 0] = payload;
    if ((indicator & 31) !== 28) nals.push(payload);
    else if (fu & 0x80)
      nals.push(Buffer.concat([Buffer.of((indicator & 0xe0) | (fu & 31)), payload.subarray(2)]));
    else nals.push(Buffer.concat([nals.pop() ?? Buffer.alloc(0), payload.subarray(2)]));
  }
  return nals;
}

test.each([1, 100, 1388, 1389, 1390, 5000, 100_000])(
  'a NAL unit of %i bytes is unchanged after packets are made and joined',
  (size) => {
    const nal = Buffer.from(Array.from({ length: size }, (_, index) => index % 251));
    nal[0] = 0x65;
    const nals = [Buffer.of(0x67, 1, 2), nal];
    const state = newState();
    const packets = packetize(nals, 0xfffffff0, state);
    expect(depacketize(packets)).toEqual(nals);
    expect(Math.max(...packets.map((packet) => packet.length))).toBeLessThanOrEqual(1400);
    expect(state.packets).toBe(packets.length);
  },
);

test('sequence numbers wrap, and only the last packet has the marker bit', () => {
  const packets = packetize([Buffer.alloc(4000, 0x41)], 90_000, newState());
  expect(packets.map((packet) => packet.readUInt16BE(2))).toEqual([65_534, 65_535, 0]);
  expect(packets.map((packet) => packet.readUInt8(1) >> 7)).toEqual([0, 0, 1]);
});

test('a sender report has wall clock and RTP timestamp of the same moment, and the counts', () => {
  const report = senderReport(1_700_000_000_500, 12_345, { ...newState(), packets: 7, octets: 900 });
  expect(report.readUInt8(1)).toBe(200);
  expect(report.readUInt32BE(8)).toBe(1_700_000_000 + 2_208_988_800);
  expect(report.readUInt32BE(12) / 2 ** 32).toBeCloseTo(0.5, 6);
  expect([16, 20, 24].map((at) => report.readUInt32BE(at))).toEqual([12_345, 7, 900]);
  expect(report.length % 4).toBe(0);
  expect(report.length).toBe(28 + 4 * (report.readUInt16BE(30) + 1));
});
