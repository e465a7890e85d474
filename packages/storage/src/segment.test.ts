import { segmentKey } from '@video-pipeline/frame';
import { describe, expect, test } from 'vitest';
import { cutForSegments, findArchived, pictureKeys } from './archive.ts';
import { indexOfSegment, packSegment, playlistOf, SEGMENT_HEAD } from './segment.ts';

const T0 = Date.UTC(2026, 10, 25, 7, 59, 50);
const box = (type: string, size: number) => {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32BE(size);
  bytes.write(type, 4);
  return bytes;
};
const raise = (error: Error) => {
  throw error;
};
const MP4 = Buffer.concat([box('ftyp', 28), box('moov', 900), box('moof', 100), box('mdat', 5_000)]);
const frameOf = (index: number, width = 64) => ({
  frame: { streamId: 'yard', capturedAt: T0 + index * 100, frameNumber: index, width, height: 48 },
});
const keyOf = (first: number, last: number) =>
  segmentKey('annotated', frameOf(first).frame, frameOf(last).frame, {
    topic: 'detections',
    partition: 0,
    offset: first,
    last,
  });

describe('a video segment', () => {
  test('has a head of fixed length with the index of its frames, in a box that players skip', () => {
    const frames = Array.from({ length: 60 }, (_, i): [number, number] => [
      T0 + i,
      Number.MAX_SAFE_INTEGER - i,
    ]);
    const body = packSegment(MP4, { width: 65_535, height: 700, frames });
    expect(indexOfSegment(body.subarray(0, SEGMENT_HEAD), 'x')).toEqual({
      width: 65_535,
      height: 700,
      frames,
    });
    expect(body.toString('latin1', SEGMENT_HEAD + 4, SEGMENT_HEAD + 8)).toBe('moof');
    expect(body.toString('latin1', 928 + 4, 928 + 8)).toBe('free');
    expect(body.readUInt32BE(928)).toBe(SEGMENT_HEAD - 928);
  });

  test('of another program is an error that names the object', () => {
    const sized = (side: number, frames: unknown[]) =>
      packSegment(MP4, { width: side, height: side, frames } as never);
    const others = [sized(60_000, []), sized(64, [5]), sized(64, [['x', 1]]), packSegment(MP4, {} as never)];
    for (const body of [MP4, Buffer.from('no video'), ...others])
      expect(() => indexOfSegment(body, 'annotated/x.mp4')).toThrow('annotated/x.mp4');
  });

  test('ends where the picture size changes, after 60 pictures, and where an archive would end', () => {
    const items = [0, 1, 2].map((i) => frameOf(i)).concat([3, 4].map((i) => frameOf(i, 128)));
    const cut = (all: typeof items) =>
      cutForSegments(all).map((run) => run.map(({ frame }) => frame.frameNumber));
    expect(cut([...items, frameOf(5), frameOf(900)])).toEqual([[0, 1, 2], [3, 4], [5], [900]]);
    expect(cut(Array.from({ length: 61 }, (_, i) => frameOf(i))).map(({ length }) => length)).toEqual([
      60, 1,
    ]);
  });

  test('has the position of each picture in its head', async () => {
    const key = keyOf(3, 5);
    const frames = [3, 4, 5].map((i): [number, number] => [T0 + i * 100, i]);
    const body = packSegment(MP4, { width: 64, height: 48, frames });
    const reader = {
      page: async () => ({ objects: [{ key, stored: 0, etag: '', size: 0 }] }),
      read: async (_: string, part?: object) => {
        expect(part).toEqual({ offset: 0, length: SEGMENT_HEAD });
        return body.subarray(0, SEGMENT_HEAD);
      },
    };
    const range = { from: T0 + 300, to: T0 + 500 };
    const keys = await Array.fromAsync(pictureKeys(reader, 'annotated/yard/', range, raise));
    expect(keys).toEqual(frames.map((name) => `${key.slice(0, key.lastIndexOf('/'))}/${name.join('-')}.jpg`));
    expect(await findArchived(reader, keys[1] ?? '')).toEqual({
      key,
      capturedAt: T0 + 400,
      frameNumber: 4,
      index: 1,
    });
  });
});

test('a redriven picture among later ones does not hide the pictures between', () => {
  const late = cutForSegments([frameOf(10), frameOf(-200), frameOf(11)]).map(
    (run) => [run[0], run.at(-1)].map((one) => one?.frame.frameNumber) as [number, number],
  );
  const keys = [keyOf(-190, -166), keyOf(-165, -141), ...late.map((ends) => keyOf(...ends))];
  expect(playlistOf(keys, T0)?.match(/^[^#\n].*mp4$/gm)).toHaveLength(4);
});

describe('a playlist of segments', () => {
  const keys = [
    keyOf(0, 9),
    keyOf(3, 8),
    keyOf(10, 19),
    'annotated/yard/x/1795593590500-7.jpg',
    keyOf(60, 60),
  ];
  const end = Date.UTC(2026, 10, 25, 8, 10);

  test('has each moment once, with its capture time, and marks where pictures are missing', () => {
    const names = [0, 2, 4].map((i) => keys[i]?.split('/').at(-1));
    expect(playlistOf(keys, end + 1)?.split('\n')).toEqual([
      '#EXTM3U',
      '#EXT-X-VERSION:7',
      '#EXT-X-INDEPENDENT-SEGMENTS',
      '#EXT-X-PLAYLIST-TYPE:VOD',
      '#EXT-X-TARGETDURATION:1',
      `#EXT-X-MAP:URI="${names[0]}",BYTERANGE="4096@0"`,
      '#EXT-X-PROGRAM-DATE-TIME:2026-11-25T07:59:50.000Z',
      '#EXTINF:1.000,',
      names[0],
      `#EXT-X-MAP:URI="${names[1]}",BYTERANGE="4096@0"`,
      '#EXT-X-PROGRAM-DATE-TIME:2026-11-25T07:59:51.000Z',
      '#EXTINF:1.000,',
      names[1],
      '#EXT-X-DISCONTINUITY',
      `#EXT-X-MAP:URI="${names[2]}",BYTERANGE="4096@0"`,
      '#EXT-X-PROGRAM-DATE-TIME:2026-11-25T07:59:56.000Z',
      '#EXTINF:0.100,',
      names[2],
      '#EXT-X-ENDLIST',
      '',
    ]);
  });

  test('of batches that were delivered again with other limits has each moment at its own time', () => {
    // The second batch was cut short, then the rest came with what follows.
    const again = [keyOf(0, 9), keyOf(0, 19), keyOf(10, 14), keyOf(15, 29)];
    const text = playlistOf(again, end) ?? '';
    expect(text.match(/^[^#\n].*mp4$/gm)).toEqual([again[1], again[3]].map((key) => key?.split('/').at(-1)));
    expect(text.match(/EXTINF:[\d.]+/g)).toEqual(['EXTINF:1.500', 'EXTINF:1.500']);
    expect(text).not.toContain('DISCONTINUITY');
  });

  test('is open while batches of its hour may come, and undefined without video', () => {
    expect(playlistOf(keys, end)).toMatch(/TYPE:EVENT\n(?!.*ENDLIST)/s);
    expect(
      playlistOf(
        keys.filter((key) => key.endsWith('.jpg')),
        end,
      ),
    ).toBeUndefined();
  });
});
