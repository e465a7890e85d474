import { annotatedKey } from '@video-pipeline/frame';
import { type ArchiveBucket, isMissing } from './bucket.ts';
import { capturedAtOf } from './stored-latency.ts';

const BEFORE_MS = 3_000;
const AFTER_MS = 3_000;
/** Of more, as many are taken evenly. */
const MAX_FRAMES = 60;
const WIDTH = 640;
const QUALITY = 70;
/** How long the last frame is shown before it begins again. */
const LAST_MS = 1_000;
const CONCURRENCY = 8;

/**
 * The annotated pictures from 3 s before a moment until 3 s after it, as far as they are stored, as one animated WebP
 * that plays as fast as it happened. It costs about a second of processor time, and nothing until somebody asks.
 * @param at capture time, epoch ms
 * @returns undefined when no picture of that time is stored
 */
export async function clipOf(
  bucket: ArchiveBucket,
  prefix: string,
  streamId: string,
  at: number,
): Promise<Buffer | undefined> {
  const after = annotatedKey(prefix, { streamId, capturedAt: at - BEFORE_MS, frameNumber: 0 });
  const { objects } = await bucket.page(`${prefix}/${streamId}/`, { after });
  const keys = thinned(objects.map(({ key }) => key).filter((key) => capturedAtOf(key) <= at + AFTER_MS));
  const pictures: { time: number; jpeg: Buffer }[] = [];
  for (let i = 0; i < keys.length; i += CONCURRENCY) {
    const some = keys.slice(i, i + CONCURRENCY);
    const read = some.map(async (key) => ({ time: capturedAtOf(key), jpeg: await readStored(bucket, key) }));
    for (const { time, jpeg } of await Promise.all(read)) if (jpeg) pictures.push({ time, jpeg });
  }
  return pictures.length > 0 ? animate(pictures) : undefined;
}

async function animate(pictures: readonly { time: number; jpeg: Buffer }[]): Promise<Buffer> {
  // Loaded only here, as few consoles are ever asked for a clip.
  const { default: sharp } = await import('sharp');
  const { width, height } = await sharp(pictures[0]?.jpeg).metadata();
  const scale = Math.min(1, WIDTH / width);
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
  const frames = await Promise.all(
    pictures.map(({ jpeg }) =>
      sharp(jpeg)
        .resize({ ...size, fit: 'contain' })
        .png({ compressionLevel: 0 })
        .toBuffer(),
    ),
  );
  const delay = pictures.map(({ time }, i) => Math.max(1, (pictures[i + 1]?.time ?? time + LAST_MS) - time));
  return sharp(frames, { join: { animated: true } })
    .webp({ quality: QUALITY, delay, loop: 0 })
    .toBuffer();
}

function thinned(keys: readonly string[]): string[] {
  const step = Math.max(1, keys.length / MAX_FRAMES);
  return Array.from(
    { length: Math.min(keys.length, MAX_FRAMES) },
    (_, i) => keys[Math.floor(i * step)] ?? '',
  );
}

/** @returns undefined for a picture that has expired since it was listed */
async function readStored(bucket: ArchiveBucket, key: string): Promise<Buffer | undefined> {
  return bucket.read(key).catch((error) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
}
