import { annotatedKey, type Frame, hourFolder } from '@video-pipeline/frame';
import { type Bucket, ifThere, inParallel, NotOursError, pictureKeys } from '@video-pipeline/storage';
import { DiskMap } from './disk-map.ts';

/** A frame that was not found, with the key and the folder of what would be stored. */
export interface Unlisted {
  name: string;
  key?: string | undefined;
  folder?: string | undefined;
}

/** Listings, and reads, that run at the same time: a listing returns a thousand keys an answer, one after the other. */
const AT_ONCE = 16;

/** Keys of these frames' pictures that are stored. Of each hour of a stream, only the time of the frames is listed. */
export async function storedKeys(
  bucket: Bucket,
  prefix: string,
  frames: readonly Frame[],
  unreadable: Set<string>,
): Promise<Set<string>> {
  const wanted = new Set(frames.map((frame) => annotatedKey(prefix, frame)));
  // Keys sort by time only among times of as many digits.
  const hourOf = ({ streamId, capturedAt: at }: Frame) =>
    `${streamId} ${hourFolder(at)} ${String(at).length}`;
  const hours = [...Map.groupBy(frames, hourOf).values()];
  const lists = await inParallel(hours, AT_ONCE, async (some) => {
    const times = some.map(({ capturedAt }) => capturedAt).sort((a, b) => a - b);
    const range = { from: times[0] ?? 0, to: times.at(-1) ?? 0 };
    const folder = `${prefix}/${some[0]?.streamId}/`;
    const found: string[] = [];
    for await (const key of pictureKeys(bucket, folder, range, (error) => unreadable.add(error.key)))
      if (wanted.has(key)) found.push(key);
    return found;
  });
  return new Set(lists.flat());
}

/** Keys of pictures that STORE=events did not keep, by the lines of detections in the folders of these frames. */
export async function keysNotKept(
  bucket: Bucket,
  frames: Iterable<[string, Unlisted]>,
  unreadable: Set<string>,
) {
  using folders = new DiskMap<true>();
  for (const [, { folder }] of frames) if (folder) folders.set(folder, true);
  const keys = new DiskMap<true>();
  const readLines = async (object: string) => {
    const text = await ifThere(bucket.read(object));
    for (const line of String(text ?? '').split('\n')) {
      const { picture, annotated_key: key } = Object(line ? JSON.parse(line) : {});
      if (picture === null) keys.set(String(key), true);
    }
  };
  for (const [folder] of folders) {
    await inParallel(await Array.fromAsync(bucket.list(folder)), AT_ONCE, (object) =>
      readLines(object).catch((error) => {
        if (!(error instanceof SyntaxError || error instanceof NotOursError)) throw error;
        unreadable.add(object);
      }),
    );
  }
  return keys;
}
