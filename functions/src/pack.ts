import { archiveKey, type DetectedFrame, type MSKRecord, segmentKey } from '@video-pipeline/frame';
import type { StoredObject } from '@video-pipeline/storage';
import { cutForArchives, cutForSegments, type Part, packArchive, packSegment } from '@video-pipeline/storage';

/** How several pictures are stored as one object: values of STORE. */
export type PackedForm = 'archive' | 'video';

/** An annotated picture that is to be a part of an object. */
export interface Packable {
  record: MSKRecord;
  frame: DetectedFrame;
  jpeg: Buffer;
  /** The frame's facts and detections, one line of JSON. */
  line: string;
}

/** Some pictures of a stream as one object. */
interface Packed<Item> {
  items: Item[];
  /** For each item: its part of the object. */
  parts: Part[];
  object: StoredObject;
}

/**
 * Packs the pictures of one stream in a batch into as few objects as possible.
 * @param items not empty
 */
export async function* packs<Item extends Packable>(
  form: PackedForm,
  prefix: string,
  items: readonly Item[],
): AsyncGenerator<Packed<Item> | Unfit<Item>> {
  const runs = form === 'archive' ? cutForArchives(items) : cutForSegments(items);
  for (const run of runs) {
    const [first, last] = [run[0], run.at(-1)];
    if (!first || !last) continue;
    if (form === 'video') yield await segmentOf(prefix, run, first, last);
    else {
      const { body, ranges } = packArchive(run);
      const key = archiveKey(prefix, first.frame, last.frame, recordsOf(run));
      yield { items: run, parts: ranges, object: { key, body, contentType: 'application/x-tar' } };
    }
  }
}

/** First and last record of pictures of one partition. */
function recordsOf(items: readonly Packable[]) {
  const offsets = items.map(({ record }) => record.offset);
  const { topic = '', partition = 0 } = items[0]?.record ?? {};
  return { topic, partition, offset: Math.min(...offsets), last: Math.max(...offsets) };
}

/** Pictures that can't be encoded as video. */
interface Unfit<Item> {
  items: Item[];
  reason: string;
}

async function segmentOf<Item extends Packable>(
  prefix: string,
  items: Item[],
  first: Item,
  last: Item,
): Promise<Packed<Item> | Unfit<Item>> {
  const { width, height } = first.frame;
  try {
    // Loaded only here: an installation without video has no FFmpeg.
    const { encodeSegment } = await import('./clip-encoder.ts');
    const mp4 = await encodeSegment(items.map(({ frame, jpeg }) => ({ capturedAt: frame.capturedAt, jpeg })));
    const frames = items.map(({ frame }): [number, number] => [frame.capturedAt, frame.frameNumber]);
    const key = segmentKey(prefix, first.frame, last.frame, recordsOf(items));
    const body = packSegment(mp4, { width, height, frames });
    return {
      items,
      parts: items.map((_, index) => ({ index })),
      object: { key, body, contentType: 'video/mp4' },
    };
  } catch (error) {
    return { items, reason: (error as Error).message };
  }
}
