/** Start of frame, Huffman coded: baseline, extended, progressive. */
const SOF_FIRST = 0xc0;
const SOF_LAST = 0xc2;
/** What may stand before the frame of a plain JPEG: tables, restart interval, JFIF, comment. */
const SKIPPED: readonly number[] = [0xc4, 0xdb, 0xdd, 0xe0, 0xfe];

/**
 * Reads the size of a JPEG as cameras and encoders make them, three components of 8 bits: no EXIF, which may turn it, no
 * colour profile, no Adobe segment (ITU-T T.81, annex B).
 * @returns pixels; `undefined` for all else, broken files too
 */
export function plainJpegSize(bytes: Uint8Array): { width: number; height: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength < 2 || view.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; at + 10 <= view.byteLength; at += 2 + view.getUint16(at + 2)) {
    if (view.getUint8(at) !== 0xff) return undefined;
    const marker = view.getUint8(at + 1);
    if (marker >= SOF_FIRST && marker <= SOF_LAST) return frameSize(view, at + 4);
    if (!SKIPPED.includes(marker)) return undefined;
  }
  return undefined;
}

function frameSize(view: DataView, at: number): { width: number; height: number } | undefined {
  const [precision, height, width, components] = [
    view.getUint8(at),
    view.getUint16(at + 1),
    view.getUint16(at + 3),
    view.getUint8(at + 5),
  ];
  return precision === 8 && components === 3 && width > 0 && height > 0 ? { width, height } : undefined;
}
