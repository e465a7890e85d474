import { expect, test, vi } from 'vitest';
import type { Clip } from './clip.ts';
import { Player } from './player.ts';
import { interleavedSink } from './session.ts';

/** Ten pictures a second, a key frame twice a second; each NAL unit begins with its type. */
const clip: Clip = {
  sps: Buffer.of(0x67),
  pps: Buffer.of(0x68),
  units: Array.from({ length: 10 }, (_, index) => ({
    nals: [Buffer.of(index % 5 === 0 ? 0x65 : 0x41, index)],
    dts: index * 9_000,
    pts: index * 9_000,
    keyframe: index % 5 === 0,
  })),
  duration: 90_000,
  reorderDelay: 0,
};

test('a client that falls behind loses pictures up to the next key frame, and no more', () => {
  vi.useFakeTimers();
  try {
    let isReady = true;
    const sent: number[] = [];
    const player = new Player(clip, {
      sendRtp: (packets) => void sent.push(packets.at(-1)?.readUInt8(13) ?? -1),
      sendRtcp: () => {},
      ready: () => isReady,
    });
    player.start();
    vi.advanceTimersByTime(150);
    isReady = false;
    vi.advanceTimersByTime(100);
    isReady = true;
    vi.advanceTimersByTime(1000);
    player.stop();
    expect(sent).toEqual([0, 1, 5, 6, 7, 8, 9, 0, 1, 2]);
  } finally {
    vi.useRealTimers();
  }
});

test('a full socket is ready again only when most of its buffer is written', () => {
  const socket = { writableLength: 0, write: () => true };
  const outlet = interleavedSink(socket, [0, 1]);
  const readyAt = (bytes: number) => {
    socket.writableLength = bytes;
    return outlet.ready();
  };
  expect([0, 900_000, 1_100_000, 900_000, 200_000, 900_000].map(readyAt)).toEqual([
    true,
    true,
    false,
    false,
    true,
    true,
  ]);
});
