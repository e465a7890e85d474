import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RtpPictures } from './rtp-pictures.ts';
import { UdpTrack } from './rtp-udp.ts';

/** A framed packet; `payload` is that of H.265. */
function packet(sequence: number, timestamp: number, isLast: boolean, payload = [2, 1, 0]): Buffer {
  const rtp = Buffer.from([0x80, (isLast ? 0x80 : 0) | 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, ...payload]);
  rtp.writeUInt16BE(sequence & 0xffff, 2);
  rtp.writeUInt32BE(timestamp, 4);
  return Buffer.concat([Buffer.from([0x24, 0, 0, rtp.length]), rtp]);
}

/** Pictures of three fragments each, from a sequence number near its end. */
const stream = Array.from({ length: 30 }, (_, index) => {
  const [start, middle, end] = [0x81, 0x01, 0x41].map((fragment) => [49 << 1, 1, fragment]);
  return [start, middle, end].map((payload, part) =>
    packet(65_500 + index * 3 + part, index * 3600, part === 2, payload),
  );
});

function pictures(packets: Buffer[], codec = 'H265') {
  const got: Buffer[][] = [];
  const counts = { gaps: 0, long: 0, lost: 0, references: 0, keys: 0 };
  const all = new RtpPictures(new Map([[96, codec]]), {
    picture: (one) => got.push(one),
    gap: (mayBeKey) => {
      counts.gaps += 1;
      counts.long += Number(mayBeKey);
    },
    lost: (loss) => {
      counts.lost += 1;
      counts.references += Number(loss === 'reference');
      counts.keys += Number(loss === 'key');
    },
  });
  for (const one of packets) all.push(one);
  return { got, ...counts };
}

test('pictures are given whole or not at all, whichever packets are missing', () => {
  const missing = fc.uniqueArray(fc.integer({ min: 3, max: 86 }), { maxLength: 40 });
  fc.assert(
    fc.property(missing, (gone) => {
      const { got } = pictures(stream.flat().filter((_, index) => !gone.includes(index)));
      const whole = stream.filter((_, index) => ![0, 1, 2].some((part) => gone.includes(index * 3 + part)));
      expect(got).toEqual(whole);
    }),
  );
});

test('of a picture that came in part, it is told whether others build on it, or all that follows', () => {
  const lossy = (codec: string, ...header: number[]) => {
    // Three fragments of a slice (RFC 6184, 5.8; RFC 7798, 4.4.3), the middle one lost, then a picture of its own.
    const parts = [0x80, 0x00, 0x40].map((place, part) =>
      packet(10 + part, 0, part === 2, [...header.slice(0, -1), place | (header.at(-1) ?? 0), 0]),
    );
    return pictures([...parts.toSpliced(1, 1), packet(13, 3600, true, [0x41, 0, 0])], codec);
  };
  expect(lossy('H264', (3 << 5) | 28, 1)).toMatchObject({ lost: 1, references: 1, keys: 0 });
  expect(lossy('H264', 28, 1)).toMatchObject({ lost: 1, references: 0, keys: 0 });
  expect(lossy('H264', (3 << 5) | 28, 5)).toMatchObject({ lost: 1, references: 0, keys: 1 });
  expect(lossy('H265', 49 << 1, 1, 1)).toMatchObject({ lost: 1, keys: 0 });
  expect(lossy('H265', 49 << 1, 1, 19)).toMatchObject({ lost: 1, keys: 1 });
});

test('a gap of some packets between two pictures may be a key frame that none came of', () => {
  const flat = stream.flat();
  expect(pictures(flat.toSpliced(6, 3))).toMatchObject({ gaps: 1, long: 1, lost: 0 });
  expect(pictures(flat.toSpliced(6, 1))).toMatchObject({ gaps: 1, long: 0 });
});

test('what is missing is counted; a camera that marks no picture’s end still has them', () => {
  const flat = stream.flat();
  expect(pictures(flat)).toMatchObject({ gaps: 0, lost: 0 });
  expect(pictures(flat.toSpliced(4, 1))).toMatchObject({ gaps: 1, lost: 1 });
  expect(pictures(flat.toSpliced(3, 3))).toMatchObject({ gaps: 1, lost: 0 });
  const unmarked = flat.map((one) => Buffer.from(one.with(5, 96)));
  expect(pictures(unmarked).got).toEqual(
    stream.slice(0, -1).map((parts) => parts.map((one) => Buffer.from(one.with(5, 96)))),
  );
  expect(pictures([Buffer.alloc(3), Buffer.from([0x24, 0, 0, 1, 0x80])]).got).toEqual([]);
});

test('over UDP packets come out in order, once each, whatever overtook whatever; from the camera alone', async () => {
  const track = await UdpTrack.open('127.0.0.1');
  const camera = createSocket('udp4').bind(0, '127.0.0.1');
  const other = createSocket('udp4').bind(0, '127.0.0.2');
  await Promise.all([once(camera, 'listening'), once(other, 'listening')]);
  const [rtp = 0, rtcp = 0] = track.ports.split('-').map(Number);
  expect(rtcp).toBe(rtp + 1);
  const got: number[] = [];
  track.receive(2, (framed) => got.push(framed.readUInt16BE(6)));
  const send = (sequence: number) =>
    new Promise((sent) => camera.send(packet(sequence, 0, true).subarray(4), rtp, '127.0.0.1', sent));
  other.send(packet(7, 0, true).subarray(4), rtp, '127.0.0.1');
  for (const sequence of [65_534, 0, 65_535, 2, 1, 1, 3]) await send(sequence);
  await expect.poll(() => got).toEqual([65_534, 65_535, 0, 1, 2, 3]);
  // One that never comes is waited for no longer than some packets.
  for (let sequence = 5; sequence < 40; sequence += 1) await send(sequence);
  await expect.poll(() => got.at(-1)).toBe(39);
  expect(got.slice(6)).toEqual(Array.from({ length: 35 }, (_, index) => index + 5));
  track.close();
  camera.close();
  other.close();
});
