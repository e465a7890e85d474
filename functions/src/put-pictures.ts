import { archiveKey, type DetectedFrame, type MSKRecord, segmentKey } from '@video-pipeline/frame';
import {
  cutForArchives,
  cutForSegments,
  inParallel,
  type Part,
  packArchive,
  packSegment,
  type Store,
  type StoredObject,
} from '@video-pipeline/storage';
import { asSpan, type Logger, sharedSpan } from '@video-pipeline/telemetry';
import { FRAME_CONCURRENCY } from './frame-concurrency.ts';

/** How several pictures are stored as one object: values of STORE. */
type PackedForm = 'archive' | 'video';

/** An annotated picture, and the key that it has as an object of its own. */
interface Picture {
  frame: DetectedFrame;
  key: string;
  jpeg: Buffer;
}

interface Packable extends Picture {
  record: MSKRecord;
  /** The frame's facts and detections, one line of JSON. */
  line: string;
}

/** Writes a picture as an object of its own. */
export function putPicture(store: Store, { frame, key, jpeg: body }: Picture): Promise<void> {
  const metadata = {
    stream_id: frame.streamId,
    frame_number: String(frame.frameNumber),
    session: frame.session,
    captured_at: String(frame.capturedAt),
  };
  return store.put({ key, body, contentType: 'image/jpeg', metadata });
}

/** For each frame's key: the object that holds its picture, and the part of it. The NDJSON lines carry this. */
export type PictureParts = ReadonlyMap<string, Partial<Record<PackedForm, Part & { key: string }>>>;

/** Writes a stream's pictures of a batch as few objects. Those that can't be encoded as video are stored one by one. */
export async function putPacks(
  form: PackedForm,
  pictures: readonly Packable[],
  to: {
    store: Store;
    prefix: string;
    storageClass?: StoredObject['storageClass'];
    logger: Pick<Logger, 'warn'>;
  },
): Promise<PictureParts> {
  const { store, prefix, storageClass, logger } = to;
  const locations = new Map();
  for (const run of form === 'archive' ? cutForArchives(pictures) : cutForSegments(pictures)) {
    const noVideo = ({ message: reason }: Error) =>
      logger.warn("pictures can't be encoded as video: stored one by one", { reason, frames: run.length });
    const packed = form === 'archive' ? archiveOf(prefix, run) : await segmentOf(prefix, run).catch(noVideo);
    await asSpan('annotate', 's3.put', sharedSpan(run.map(({ frame }) => frame)), async () => {
      if (packed) await store.put({ ...packed.object, storageClass });
      else await inParallel(run, FRAME_CONCURRENCY, (one) => putPicture(store, one));
    });
    for (const [i, part] of packed?.parts.entries() ?? [])
      locations.set(run[i]?.key, { [form]: { key: packed?.object.key, ...part } });
  }
  return locations;
}

/** Some pictures of a stream as one object, and for each of them its part of the object. */
interface Packed {
  parts: Part[];
  object: StoredObject;
}

function archiveOf(prefix: string, run: readonly Packable[]): Packed {
  const { body, ranges } = packArchive(run);
  const object = { key: archiveKey(prefix, ...extentOf(run)), body, contentType: 'application/x-tar' };
  return { parts: ranges, object };
}

/** @throws Error when the pictures can't be encoded */
async function segmentOf(prefix: string, run: readonly Packable[]): Promise<Packed> {
  // Loaded only here: an installation without video has no FFmpeg.
  const { encodeSegment } = await import('./clip-encoder.ts');
  const mp4 = await encodeSegment(run.map(({ frame, jpeg }) => ({ capturedAt: frame.capturedAt, jpeg })));
  const extent = extentOf(run);
  const [{ width, height }] = extent;
  const frames = run.map(({ frame }): [number, number] => [frame.capturedAt, frame.frameNumber]);
  const body = packSegment(mp4, { width, height, frames });
  const key = segmentKey(prefix, ...extent);
  return { parts: run.map((_, index) => ({ index })), object: { key, body, contentType: 'video/mp4' } };
}

/** First and last frame of pictures in order, and the first and last of their records, which are of one partition. */
function extentOf(run: readonly Packable[]) {
  const [first, last] = [run[0], run.at(-1)] as [Packable, Packable];
  const offsets = run.map(({ record }) => record.offset);
  const records = { ...first.record, offset: Math.min(...offsets), last: Math.max(...offsets) };
  return [first.frame, last.frame, records] as const;
}
