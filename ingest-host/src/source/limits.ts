import { PictureError, PictureTooLargeError, readPictureHeader } from '@video-pipeline/picture';
import { avImageGetBufferSize, type CodecContext } from 'node-av/lib';
import { SourceError } from './source-error.ts';

/** Limits for one camera. Its address is trusted; its data is not. */

/** Most pixels of a picture. A decoder may hold 17 (H.264 and H.265 refer to 16 others): 510 MB at 1.5 bytes each. */
export const MAX_PIXELS = 20_000_000;
/** Most scans of a JPEG: each costs as much as a picture. Cameras use one or three, progressive JPEGs about ten. */
const MAX_JPEG_SCANS = 32;
/** Most bytes without a packet: FFmpeg keeps them in memory, as lists, indexes or the start of a picture. */
export const MAX_BYTES_WITHOUT_PACKET = 8 * 1024 * 1024;
/** Most bytes of an HLS list: FFmpeg needs up to a hundred times as much memory, and more for a master list. */
export const MAX_LIST_BYTES = 1024 * 1024;
export const MAX_MASTER_LIST_BYTES = 64 * 1024;
/** Most connections of a source before one of them gives a packet. */
export const MAX_CONNECTIONS_WITHOUT_PACKET = 64;
export const MAX_TRACKS = 32;

/**
 * FFmpeg's demuxers for the formats of cameras over HTTP and similar protocols. Scripts, lists of files, session
 * descriptions, subtitles and still pictures are left out.
 */
export const DEMUXERS =
  'av1,flv,h264,hevc,hls,live_flv,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mpjpeg,obu,webm';

/** FFmpeg's decoders for the codecs of cameras. */
const DECODERS = new Set('av1 h263 h264 hevc libdav1d mjpeg mpeg1video mpeg2video mpeg4 vp8 vp9'.split(' '));

/** @throws SourceError */
export function checkDecoder(name: string | null): void {
  if (!DECODERS.has(name ?? ''))
    throw new SourceError(`codec ${name} is not supported: no camera uses it`, true);
}

/**
 * Checks a JPEG's header before it is decoded. The decoder reports damage.
 * @throws SourceError when it has too many pixels, or too many scans
 */
export function checkJpeg(jpeg: Buffer): void {
  try {
    readPictureHeader(jpeg, { maxPixels: MAX_PIXELS, maxScans: MAX_JPEG_SCANS });
  } catch (error) {
    if (error instanceof PictureTooLargeError) throw new SourceError(error.message, true);
    if (!(error instanceof PictureError)) throw error;
  }
}

/**
 * Checks the size of the pictures of a decoder that has read the headers of its video.
 * @throws SourceError when the pictures are too large
 */
export function checkMemory({ width, height, pixelFormat }: CodecContext): void {
  if (avImageGetBufferSize(pixelFormat, width, height, 1) > 1.5 * MAX_PIXELS) throw tooLarge();
}

export function tooLarge(): SourceError {
  return new SourceError(`its pictures are over ${MAX_PIXELS / 1e6} million pixels`, true);
}
