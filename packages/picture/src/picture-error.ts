/** A picture can't be decoded or may not be, at every attempt. The message says why. */
export class PictureError extends Error {
  override readonly name = 'PictureError';
}

/** A picture would cost too much to decode. */
export class PictureTooLargeError extends PictureError {}
