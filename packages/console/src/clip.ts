import { readPictureHeader } from '@video-pipeline/picture';
import { picturesOf, type Reader, type StoredPicture, type Stretch } from '@video-pipeline/storage';

/** Of more, as many are taken evenly. */
const MAX_FRAMES = 60;
const WIDTH = 640;
const QUALITY = 70;
/** As annotate draws them. */
const LIMITS = { maxPixels: 50_000_000 };
/** How long the last frame is shown before it begins again. */
const LAST_MS = 1_000;

/**
 * The annotated pictures of a stretch as far as they are stored, as one animated WebP that plays as fast as it happened.
 * It costs about a second of processor time, and nothing until somebody asks.
 * @param signal ends it between two pictures
 * @returns undefined when no picture of that time is stored
 */
export async function clipOf(
  reader: Reader,
  prefix: string,
  stretch: Stretch,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const pictures = await picturesOf(abortable(reader, signal), prefix, stretch, MAX_FRAMES);
  return pictures.length > 0 ? animate(pictures, signal) : undefined;
}

/** The same reader until the signal aborts. */
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
  // Loaded only here, as few consoles are ever asked for a clip.
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
  return sharp(frames, { join: { animated: true } })
    .webp({ quality: QUALITY, delay, loop: 0 })
    .toBuffer();
}
