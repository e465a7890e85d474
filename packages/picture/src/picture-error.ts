/** A picture can't be decoded, or must not be. A retry does not help. The message says why. */
export class PictureError extends Error {
  override readonly name = 'PictureError';
}

/** A picture would cost too much to decode. */
export class PictureTooLargeError extends PictureError {}
