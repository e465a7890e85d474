import { readPictureHeader } from '@video-pipeline/picture';
import { picturesOf, type Reader, type StoredPicture, type StreamRange } from '@video-pipeline/storage';

/** Most frames of a clip. Of more, this many are chosen at even distances. */
const MAX_FRAMES = 60;
const WIDTH = 640;
const QUALITY = 70;
/** The limit of annotate. */
const LIMITS = { maxPixels: 50_000_000 };
/** How long the last frame is shown before the clip starts again, milliseconds. */
const LAST_MS = 1_000;

/**
 * The stored annotated pictures of a time range, as an animated WebP at the original speed. It costs about a second of
 * processor time for each request.
 * @param signal ends it between two pictures
 * @returns undefined when no picture of that time is stored
 */
export async function clipOf(
  reader: Reader,
  prefix: string,
  range: StreamRange,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const pictures = await picturesOf(abortable(reader, signal), prefix, range, MAX_FRAMES);
  return pictures.length > 0 ? animate(pictures, signal) : undefined;
}

/** The same reader. It throws once the signal has aborted. */
function abortable(reader: Reader, signal: AbortSignal): Reader {
  return {
    page(prefix, options) {
      signal.throwIfAborted();
      return reader.page(prefix, options);
    },
    read(key, range) {
      signal.throwIfAborted();
      return reader.read(key, range);
    },
  };
}

async function animate(pictures: readonly StoredPicture[], signal: AbortSignal): Promise<Buffer> {
  // Loaded only here, since clips are rarely requested.
  const { default: sharp } = await import('sharp');
  const { width, height } = readPictureHeader(pictures[0]?.jpeg ?? Buffer.alloc(0), LIMITS);
  const scale = Math.min(1, WIDTH / width);
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
  const frames: Buffer[] = [];
  for (const { jpeg } of pictures) {
    signal.throwIfAborted();
    readPictureHeader(jpeg, LIMITS);
    const frame = sharp(jpeg).resize({ ...size, fit: 'contain' });
    frames.push(await frame.png({ compressionLevel: 0 }).toBuffer());
  }
  const delay = pictures.map(({ capturedAt }, i) =>
    Math.max(1, (pictures[i + 1]?.capturedAt ?? capturedAt + LAST_MS) - capturedAt),
  );
  // Sharp joins two pictures or more.
  const joined = frames.length > 1 ? sharp(frames, { join: { animated: true } }) : sharp(frames[0]);
  return joined.webp({ quality: QUALITY, delay, loop: 0 }).toBuffer();
}
