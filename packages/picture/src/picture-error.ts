/** A picture that can't be decoded or may not be, however often it is tried; says why. */
export class PictureError extends Error {
  override readonly name = 'PictureError';
}

/** One that would cost too much to decode. */
export class PictureTooLargeError extends PictureError {}
