import { archiveSpanOf, HOUR_MS } from '@video-pipeline/frame';
import { NotOursError } from './not-ours-error.ts';

// A segment is one object for a stream's annotated pictures in a batch: H.264 in a fragmented MP4 (CMAF) that plays on
// its own. Its media time counts from the start of the hour of its first picture. A `free` box, which players skip
// (ISO/IEC 14496-12, 8.1.2), follows the description of the stream (`ftyp`, `moov`). It lists the frames of the
// pictures. It also gives every segment a head of the same length, so that a playlist can name it without reading the
// segment.

/** Bytes before the fragment: the range in HLS's EXT-X-MAP. */
export const SEGMENT_HEAD = 4_096;
/** Most pictures of one segment: their index always fits into the head. */
export const SEGMENT_PICTURES = 60;
/** As many pixels as annotate accepts. */
const MAX_PIXELS = 50_000_000;
const BOX_HEADER = 8;

/** Contents of a segment: the original size of its pictures, pixels, and their frames in order. */
interface SegmentIndex {
  width: number;
  height: number;
  frames: [capturedAt: number, frameNumber: number][];
}

/** Puts the index into a fragmented MP4. @throws Error if the stream's description leaves no room for it */
export function packSegment(mp4: Buffer, index: SegmentIndex): Buffer {
  const at = boxesOf(mp4).find(({ type }) => type === 'moof')?.offset ?? mp4.length;
  const text = JSON.stringify(index);
  const length = SEGMENT_HEAD - at;
  if (length < BOX_HEADER + text.length) throw new Error(`a head of ${at} bytes leaves no room for an index`);
  const box = Buffer.alloc(length);
  box.writeUInt32BE(length);
  box.write(`free${text}`, 4, 'latin1');
  return Buffer.concat([mp4.subarray(0, at), box, mp4.subarray(at)]);
}

/**
 * @param head the first {@link SEGMENT_HEAD} bytes of the object, or more
 * @throws NotOursError
 */
export function indexOfSegment(head: Buffer, key: string): SegmentIndex {
  const box = boxesOf(head).find(({ type }) => type === 'free');
  try {
    if (!box) throw new Error('it has no index');
    const text = head.toString('latin1', box.offset + BOX_HEADER, box.offset + box.size);
    const index: SegmentIndex = JSON.parse(text.slice(0, text.indexOf('\0') >>> 0));
    if (!(index.width * index.height <= MAX_PIXELS && index.frames.length <= SEGMENT_PICTURES))
      throw new Error('it is too large');
    checkNumbers(index.frames);
    return index;
  } catch (cause) {
    throw new NotOursError(key, 'is no video segment of this pipeline', { cause });
  }
}

/** @throws Error for an index of pictures that holds other than times, numbers and positions */
export function checkNumbers(entries: readonly (readonly number[])[]): void {
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
  if (!entries.every((entry) => entry.every(isCount))) throw new Error('its index holds other than numbers');
}

/** Gap between segments, milliseconds, from which on there is a discontinuity: players don't wait for pictures then. */
const GAP_MS = 1_000;
/** How long after the end of an hour its last batches may still be stored, milliseconds. */
const LATE_MS = 600_000;
/** How long the last picture before a gap is shown, milliseconds. */
const LAST_MS = 100;

/**
 * An HLS playlist (RFC 8216) of the segments of an hour, with capture times; it ends once the hour is over.
 * @param keys of the hour's folder, in order. Other objects are left out, and segments that another segment contains.
 * @param now epoch milliseconds
 * @returns undefined if there is no segment
 */
export function playlistOf(keys: readonly string[], now: number): string | undefined {
  const all = keys.flatMap((key) => {
    const span = key.endsWith('.mp4') && archiveSpanOf(key);
    return span ? [{ key, ...span }] : [];
  });
  // Segments of a batch that was delivered again begin at the same time: the longest contains the others.
  all.sort((a, b) => a.from - b.from || b.to - a.to);
  let end = -1;
  const segments = all.filter(({ to }) => {
    const isMore = to > end;
    end = Math.max(end, to);
    return isMore;
  });
  const [first] = segments;
  if (!first) return undefined;
  const lengths = segments.map(({ from, to }, i) => {
    const next = segments[i + 1]?.from ?? Number.POSITIVE_INFINITY;
    return (next - to < GAP_MS ? next : to + LAST_MS) - from;
  });
  const lines = segments.flatMap(({ key, from }, i) => {
    const name = key.slice(key.lastIndexOf('/') + 1);
    const before = segments[i - 1];
    // All media times of an hour count from its start: segments that overlap need no discontinuity.
    const isAnew = before && from - before.to >= GAP_MS;
    return [
      ...(isAnew ? ['#EXT-X-DISCONTINUITY'] : []),
      `#EXT-X-MAP:URI="${name}",BYTERANGE="${SEGMENT_HEAD}@0"`,
      `#EXT-X-PROGRAM-DATE-TIME:${new Date(from).toISOString()}`,
      `#EXTINF:${((lengths[i] ?? 0) / 1000).toFixed(3)},`,
      name,
    ];
  });
  const isOver = now > (Math.floor(first.from / HOUR_MS) + 1) * HOUR_MS + LATE_MS;
  return [
    '#EXTM3U',
    '#EXT-X-VERSION:7',
    '#EXT-X-INDEPENDENT-SEGMENTS',
    `#EXT-X-PLAYLIST-TYPE:${isOver ? 'VOD' : 'EVENT'}`,
    `#EXT-X-TARGETDURATION:${Math.ceil(Math.max(...lengths) / 1000)}`,
    ...lines,
    ...(isOver ? ['#EXT-X-ENDLIST'] : []),
    '',
  ].join('\n');
}

/**
 * The pictures of a segment as JPEGs, of the size that they had. FFmpeg is loaded here, as few processes need it.
 * @throws NotOursError
 */
export async function picturesOfSegment(mp4: Buffer, key = 'the object'): Promise<Buffer[]> {
  const { decodeVideo } = await import('./decode-video.ts');
  return decodeVideo(mp4, indexOfSegment(mp4, key), key);
}

function boxesOf(bytes: Buffer): { type: string; offset: number; size: number }[] {
  const boxes = [];
  for (let offset = 0; offset + BOX_HEADER <= bytes.length; ) {
    const size = bytes.readUInt32BE(offset);
    boxes.push({ type: bytes.toString('latin1', offset + 4, offset + BOX_HEADER), offset, size });
    offset += Math.max(size, BOX_HEADER);
  }
  return boxes;
}
