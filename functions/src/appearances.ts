import type { DetectedFrame, Detection } from '@video-pipeline/frame';
import { PictureError, readPictureHeader } from '@video-pipeline/picture';
import { type Appearance, appearanceOf } from '@video-pipeline/scene';

/** Larger pictures are not decoded for colours. */
const MAX_PIXELS = 10_000_000;
/** A picture of this width is enough for colours. */
const WIDTH = 320;
const DIVISORS = [8, 4, 2] as const;

/**
 * The colours of each detection. The picture is decoded at between an eighth and the whole of its width and height:
 * about 1 ms of CPU time for 720p.
 * @returns an empty map for a picture that can't be decoded; `annotate` reports such a picture
 */
export async function appearancesOf({
  jpeg,
  width,
  height,
  detections,
}: DetectedFrame): Promise<ReadonlyMap<Detection, Appearance>> {
  if (detections.length === 0) return new Map();
  // Loaded here, since most streams need no colours: detect then starts without the native JPEG codec.
  const { decodeRgb } = await import('@video-pipeline/picture/codec');
  try {
    const header = readPictureHeader(jpeg, { maxPixels: MAX_PIXELS });
    const divisor = DIVISORS.find((one) => width / one >= WIDTH) ?? 1;
    const picture = await decodeRgb(jpeg, header, { divisor });
    const [x, y] = [picture.width / width, picture.height / height];
    const scaled = (bbox: Detection['bbox']) =>
      bbox.map((side, axis) => side * (axis % 2 ? y : x)) as typeof bbox;
    return new Map(detections.map((one) => [one, appearanceOf(picture, scaled(one.bbox))]));
  } catch (error) {
    if (error instanceof PictureError) return new Map();
    throw error;
  }
}
