/** Size in the frame header of a baseline JPEG, pixels (ITU-T T.81, B.2.2); throws if the file is truncated. */
export function jpegSize(jpeg: Buffer): { width: number; height: number } {
  if (jpeg.readUInt16BE(0) !== 0xffd8 || jpeg.readUInt16BE(jpeg.length - 2) !== 0xffd9) {
    throw new Error('no whole JPEG');
  }
  for (let at = 2; at < jpeg.length; at += 2 + jpeg.readUInt16BE(at + 2)) {
    if (jpeg.readUInt16BE(at) === 0xffc0) {
      return { height: jpeg.readUInt16BE(at + 5), width: jpeg.readUInt16BE(at + 7) };
    }
  }
  throw new Error('no frame header');
}
