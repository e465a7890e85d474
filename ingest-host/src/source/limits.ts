import { PictureError, PictureTooLargeError, readPictureHeader } from '@video-pipeline/picture';
import type { AVPixelFormat } from 'node-av/constants';
import { avGetPixFmtName, type CodecContext } from 'node-av/lib';
import { SourceError } from './source-error.ts';

/** What one camera may cost. Its address is trusted; what it sends is not. */

/**
 * Pixels of a picture. A decoder may hold 17 pictures, for H.264 and H.265 refer to as many as 16 others: 510 MB at 1.5
 * bytes a pixel.
 */
export const MAX_PIXELS = 20_000_000;
/** Scans of one JPEG: a camera's has one or three, a progressive one about ten; each costs as much as a picture. */
const MAX_JPEG_SCANS = 32;
/** Bytes that may come before they make a packet: FFmpeg keeps them, as lists, indexes or the start of a picture. */
export const MAX_BYTES_WITHOUT_PACKET = 8 * 1024 * 1024;
/** Bytes of an HLS list: FFmpeg makes up to a hundred times as many of them, and more of one that lists lists. */
export const MAX_LIST_BYTES = 1024 * 1024;
export const MAX_MASTER_LIST_BYTES = 64 * 1024;
/** Connections that a source may open before one of them gives a packet. */
export const MAX_CONNECTIONS_WITHOUT_PACKET = 64;
/** Tracks of one source. */
export const MAX_TRACKS = 32;

/**
 * FFmpeg's demuxers of what cameras send over HTTP and the like. Scripts, lists of files, session descriptions, subtitles
 * and still pictures are not among them.
 */
export const DEMUXERS =
  'av1,flv,h264,hevc,hls,live_flv,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mpjpeg,obu,webm';

/** FFmpeg's decoders of what cameras send. */
const DECODERS = new Set('av1 h263 h264 hevc libdav1d mjpeg mpeg1video mpeg2video mpeg4 vp8 vp9'.split(' '));

/** @throws SourceError */
export function checkDecoder(name: string | null): void {
  if (!DECODERS.has(name ?? '')) throw new SourceError(`codec ${name} is none that cameras use`, true);
}

/**
 * Looks at a JPEG's header before it is decoded. What is damaged is for the decoder to find.
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

/** Bytes of one decoded picture, as {@link MAX_PIXELS} counts them. */
const MAX_PICTURE_BYTES = MAX_PIXELS * 1.5;

/**
 * A decoder that has read the headers of a video: may its pictures be kept?
 * @throws SourceError
 */
export function checkMemory({ width, height, pixelFormat }: CodecContext): void {
  if (width * height * bytesPerPixel(pixelFormat) > MAX_PICTURE_BYTES) throw tooLarge();
}

function bytesPerPixel(format: number): number {
  let bytes = bytesOf.get(format);
  if (bytes === undefined) {
    const name = avGetPixFmtName(format as AVPixelFormat) ?? '';
    const samples = name.includes('444') ? 3 : name.includes('422') ? 2 : name.startsWith('gray') ? 1 : 1.5;
    bytes = /(p|gray)(9|1[0246])(le|be)?$/.test(name) ? samples * 2 : samples;
    bytesOf.set(format, bytes);
  }
  return bytes;
}
const bytesOf = new Map<number, number>();

export function tooLarge(): SourceError {
  return new SourceError(`its pictures are over ${MAX_PIXELS / 1e6} million pixels`, true);
}
