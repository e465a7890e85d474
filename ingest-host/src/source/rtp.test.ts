import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { FRAMING } from '@video-pipeline/camera';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { type Loss, lossBefore } from './nal-units.ts';
import { codecsOf, RtpPictures } from './rtp-pictures.ts';
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

function pictures(packets: Buffer[], codec = 'H265', takes = (_index: number) => true) {
  const got: Buffer[][] = [];
  const gaps: (Loss | undefined)[] = [];
  const counts = { gaps: 0, lost: 0 };
  const all = new RtpPictures(new Map([[96, codec]]), {
    picture: (one, mark) => {
      gaps.push(mark && lossBefore(mark.subarray(FRAMING + 12)));
      return got.push(one) > 0 && takes(got.length - 1);
    },
    loss: () => {
      counts.gaps += 1;
    },
    lost: () => {
      counts.lost += 1;
    },
  });
  for (const one of packets) all.push(one);
  return { got, marks: gaps, ...counts };
}

test('pictures are complete or missing, for any lost packets', () => {
  const missing = fc.uniqueArray(fc.integer({ min: 3, max: 86 }), { maxLength: 40 });
  fc.assert(
    fc.property(missing, (gone) => {
      const { got } = pictures(stream.flat().filter((_, index) => !gone.includes(index)));
      const whole = stream.filter((_, index) => ![0, 1, 2].some((part) => gone.includes(index * 3 + part)));
      expect(got).toEqual(whole);
    }),
  );
});

test('the picture after a gap has the kind of loss before it', () => {
  const lossy = (codec: string, ...header: number[]) => {
    // Three fragments of a slice (RFC 6184, 5.8; RFC 7798, 4.4.3), the middle one lost, then a picture of its own.
    const parts = [0x80, 0x00, 0x40].map((place, part) =>
      packet(10 + part, 0, part === 2, [...header.slice(0, -1), place | (header.at(-1) ?? 0), 0]),
    );
    const next = [packet(13, 3600, true, [0x41, 0, 0]), packet(14, 7200, true, [0x41, 0, 0])];
    return pictures([...parts.toSpliced(1, 1), ...next], codec);
  };
  for (const [codec, isKey, ...header] of [
    ['H264', false, (3 << 5) | 28, 1],
    ['H264', true, (3 << 5) | 28, 5],
    ['H265', false, 49 << 1, 1, 1],
    ['H265', true, 49 << 1, 1, 19],
  ] as const)
    expect(lossy(codec, ...header)).toMatchObject({ lost: 1, marks: [{ packets: 1, isKey }, undefined] });
  expect(lossy('JPEG', 0, 0, 0, 0).marks).toEqual([undefined, undefined]);
  const flat = stream.flat();
  const marks = (packets: Buffer[], takes?: (index: number) => boolean) =>
    pictures(packets, 'H265', takes).marks.flatMap((gap, at) => (gap ? [[at, gap.packets]] : []));
  expect(marks(flat.toSpliced(6, 6))).toEqual([[2, 6]]);
  // Gaps add up until a picture is passed on.
  expect(marks(flat.filter((_, at) => ![6, 10, 14].includes(at)))).toEqual([[2, 3]]);
  expect(marks(flat, (index) => index !== 4)).toEqual([[5, 3]]);
});

test('a key frame that lost only packets before its slices is still complete', () => {
  const [sets, slice] = [[7, 8, 6], [5]].map((types) => types.map((type) => [(3 << 5) | type, 1, 2]));
  const all = [...(sets ?? []), ...(slice ?? []), [(3 << 5) | 5, 1, 3]];
  const key = all.map((payload, part) => packet(10 + part, 3600, part === all.length - 1, payload));
  const before = packet(9, 0, true, [0x41, 0, 0]);
  const given = (lost: number) => pictures([before, ...key.toSpliced(lost, 1)], 'H264').got.length === 2;
  expect([0, 1, 2, 3, 4].map(given)).toEqual([true, true, true, true, false]);
});

test('missing packets are counted, also for a camera without marker bits', () => {
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

test('a packet that comes twice costs nothing, and a late one costs its picture alone', () => {
  const flat = stream.flat();
  expect(pictures(flat.flatMap((one) => [one, one]))).toMatchObject({ got: stream, gaps: 0, lost: 0 });
  const late = pictures([...flat.slice(0, 4), ...[5, 4].flatMap((at) => flat[at] ?? []), ...flat.slice(6)]);
  expect(late).toMatchObject({ got: stream.toSpliced(1, 1), gaps: 1, lost: 1 });
  expect(late.marks[1]).toMatchObject({ packets: 1 });
  // A sender that sets its numbers back is read on.
  expect(pictures([packet(9_000, 7, true), packet(8_000, 9, true)])).toMatchObject({ gaps: 1 });
  const rounds = Array.from({ length: 400 }, (_, index) => packet(index % 20, index * 3_600, true));
  expect(pictures(rounds).got.length).toBeGreaterThan(50);
});

test('a session description gives at most one codec for each payload type', () => {
  const lines = Array.from({ length: 5_000 }, (_, type) => `a=rtpmap:${type} h264/90000`);
  const codecs = codecsOf(['v=0', ...lines, 'a=rtpmap:96 h265/90000'].join('\r\n'));
  expect(codecs.size).toBe(128);
  expect(codecs.get(96)).toBe('H265');
  // Two blanks, as an issue of djwackey/dorsvr (12) shows.
  expect([...codecsOf('v=0\r\na=rtpmap:97  G726-32/8000\r\na=rtpmap:\t98\tH264/90000')]).toEqual([
    [97, 'G726-32'],
    [98, 'H264'],
  ]);
});

test('RTP uses the even one of two adjacent UDP ports', async () => {
  const tracks = await Promise.all(Array.from({ length: 12 }, () => UdpTrack.open('127.0.0.1')));
  const all = tracks.map(({ ports }) => ports.split('-').map(Number));
  for (const track of tracks) track.close();
  expect(all.map(([rtp = 0, rtcp = 0]) => [rtp % 2, rtcp - rtp])).toEqual(tracks.map(() => [0, 1]));
});

/**
 * A camera and a track that receives it, by a clock that stands still until a test moves it: so a slow machine is no
 * late packet. @returns sequence numbers of the packets in the order of their way out
 */
async function overUdp() {
  const clock = { now: 0, readings: 0 };
  const reading = vi.spyOn(performance, 'now').mockImplementation(() => {
    clock.readings += 1;
    return clock.now;
  });
  onTestFinished(() => void reading.mockRestore());
  const track = await UdpTrack.open('127.0.0.1');
  const camera = createSocket('udp4').bind(0, '127.0.0.1');
  const other = createSocket('udp4').bind(0, '127.0.0.2');
  await Promise.all([once(camera, 'listening'), once(other, 'listening')]);
  onTestFinished(() => {
    track.close();
    camera.close();
    other.close();
  });
  const [rtp = 0, rtcp = 0] = track.ports.split('-').map(Number);
  expect(rtcp).toBe(rtp + 1);
  const got: number[] = [];
  track.receive(2, (framed) => got.push(framed.readUInt16BE(6)));
  const send = async (from: typeof camera, ...sequences: number[]) => {
    for (const sequence of sequences)
      await new Promise((sent) => from.send(packet(sequence, 0, true).subarray(4), rtp, '127.0.0.1', sent));
  };
  /** Moves the clock once `packets` have come: it is read for each. */
  const later = async (packets: number, milliseconds: number) => {
    while (clock.readings < packets) await delay(1);
    clock.now += milliseconds;
  };
  return { got, camera, other, send, later };
}

test('over UDP packets are delivered in order, once each, and only from the camera', async () => {
  const { got, camera, other, send } = await overUdp();
  await send(other, 7);
  await send(camera, 65_534, 0, 65_535, 2, 1, 1, 3);
  await expect.poll(() => got).toEqual([65_534, 65_535, 0, 1, 2, 3]);
  // One that never comes is waited for no longer than some packets.
  const rest = Array.from({ length: 35 }, (_, index) => index + 5);
  await send(camera, ...rest);
  await expect.poll(() => got.at(-1)).toBe(39);
  expect(got.slice(6)).toEqual(rest);
});

test('a packet that is repeated much later is dropped, also when its sequence number wraps', async () => {
  const { got, camera, send } = await overUdp();
  const all = Array.from({ length: 400 }, (_, index) => 65_300 + index);
  await send(camera, ...all.slice(0, 200), ...all.slice(0, 100), ...all.slice(200));
  await expect.poll(() => got.at(-1)).toBe(65_699 & 0xffff);
  expect(got).toEqual(all.map((sequence) => sequence & 0xffff));
});

test('a late packet of a slow stream is waited for half a second, and sequence numbers may be set back', async () => {
  const { got, camera, send, later } = await overUdp();
  await send(camera, 500, 502);
  await later(2, 499);
  await send(camera, 503);
  await later(3, 1);
  expect(got).toEqual([500]);
  await send(camera, 504);
  await later(4, 999);
  expect(got).toEqual([500, 502, 503, 504]);
  await send(camera, 9);
  await later(5, 1);
  await send(camera, 10, 11);
  await later(7, 0);
  expect(got.slice(4)).toEqual([10, 11]);
});
