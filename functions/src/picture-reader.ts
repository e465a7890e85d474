import { type PictureError, readPictureHeader } from '@video-pipeline/picture';
import { type Size, scalerTo } from '@video-pipeline/storage/scaler';
import { AV_CODEC_ID_MJPEG, AV_PIX_FMT_YUV420P } from 'node-av/constants';
import { Codec, CodecContext, FFmpegError, Frame, Packet } from 'node-av/lib';

/** A picture that can't be encoded as video. A retry would fail too. */
export class ClipEncodingError extends Error {
  override readonly name = 'ClipEncodingError';
}

/** Decodes JPEGs of at most `maxPixels`, one after another, into the encoder's format. */
export function pictureReader(maxPixels: number) {
  const [decoder, packet, decoded] = [new CodecContext(), new Packet(), new Frame()];
  const scaler = scalerTo(AV_PIX_FMT_YUV420P);
  const codec = Codec.findDecoder(AV_CODEC_ID_MJPEG);
  if (!codec) throw new Error('this build of FFmpeg has no JPEG decoder');
  decoder.allocContext3(codec);
  decoder.threadCount = 1;
  FFmpegError.throwIfError(decoder.open2Sync(codec), 'open the JPEG decoder');
  for (const one of [packet, decoded]) one.alloc();

  /** @returns the picture in its own format and size; it is valid until the next call. @throws ClipEncodingError */
  async function decode(jpeg: Buffer): Promise<Frame> {
    try {
      readPictureHeader(jpeg, { maxPixels });
    } catch (cause) {
      throw new ClipEncodingError(`a frame is no JPEG: ${(cause as PictureError).message}`, { cause });
    }
    packet.unref();
    packet.data = jpeg;
    let code = await decoder.sendPacket(packet);
    if (code >= 0) code = await decoder.receiveFrame(decoded);
    if (code < 0) throw new ClipEncodingError(`a frame is no JPEG: ${FFmpegError.strerror(code)}`);
    return decoded;
  }
  return {
    decode,
    /** @returns the picture scaled, in 4:2:0, limited range; valid until the next call. @throws ClipEncodingError */
    read: async (jpeg: Buffer, size: Size) => scaler.scale(await decode(jpeg), size),
    [Symbol.dispose](): void {
      scaler[Symbol.dispose]();
      for (const one of [packet, decoded]) one.free();
      decoder.freeContext();
    },
  };
}
