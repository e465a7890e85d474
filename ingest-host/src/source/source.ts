import type { Relay } from '@video-pipeline/camera';
import { TRANSPORTS } from '@video-pipeline/scene';
import type { Packet } from 'node-av/lib';
import type { RawFrame } from '../raw-frame.ts';
import type { FFmpegOptions } from './ffmpeg-options.ts';
import type { VideoFormat } from './video-format.ts';

/** A decoded picture. `frame` belongs to the source and is overwritten by the next one. */
export interface Picture {
  frame: RawFrame;
  /** Presentation time by the source's clock, seconds; the time of arrival if the source has no times. */
  time: number;
  /** Time of capture by the camera's clock, epoch milliseconds, from RTCP or a date in an HLS list; absent without. */
  wallClock?: number;
  /** Time of decoding since the former picture, including the wait for a thread of the pool, milliseconds. */
  decodeMs: number;
}

/** Numbers of coded pictures that were left out, by the damage to them or to pictures that they refer to. */
export interface Damage {
  /** The picture was lost. */
  lost: number;
  /** The network or the container marks it as damaged. */
  corrupt: number;
  /** The decoder could not decode it without errors. */
  undecodable: number;
}

/** Called for each coded picture before it is decoded, in decoding order. @param time seconds; NaN without a time */
export type MayWant = (time: number, packet: Packet) => boolean;

/** One opened camera or file. */
export interface Source {
  /** Format of the video; complete once a picture has been returned. */
  readonly format: VideoFormat;
  /** Whether pictures come in real time: the source's end is then a failure. Other sources can wait, and do end. */
  readonly live: boolean;
  /** Time of capture of the first picture, epoch milliseconds, from a file's name or container; absent without. */
  readonly recordedAt?: number | undefined;
  /** Longest plausible time from capture to arrival, milliseconds; default: that of a camera. */
  readonly maxDelayMs?: number | undefined;
  /** The decoder: `software`, `cuda` or `vaapi`; with the reason if the wanted device is missing. */
  readonly device: string;
  /** What the decoder waits for while packets arrive but no picture is returned. */
  readonly awaited: string;
  /**
   * Pictures in presentation order, until the source ends.
   * @param mayWant a picture that is not wanted is left out, unless other pictures refer to it
   * @throws SourceError when the source fails
   */
  pictures(mayWant?: MayWant): AsyncGenerator<Picture, void>;
  /** Makes a read in progress, and every later one, fail at once. May be called at any time. */
  interrupt(): void;
  close(): Promise<void>;
}

export { TRANSPORTS };
export type Transport = (typeof TRANSPORTS)[number];

/** Hardware that may decode instead of the CPU. Defined here, as a deploy reads the streams file without FFmpeg. */
export const HWACCELS = ['cuda', 'vaapi', 'auto'] as const;
export type Hwaccel = (typeof HWACCELS)[number];

export interface SourceOptions {
  /** Transport of RTSP. `auto` is TCP, or UDP if the camera refuses TCP. `http` is a tunnel through HTTP. */
  transport: Transport;
  /** Longest wait for a packet, seconds. */
  timeoutSeconds: number;
  /** Whether RTSP cameras send audio too, so that {@link Source.format} lists it. The audio is discarded. */
  audio?: boolean;
  /** Further hosts that redirects and lists may refer to: `host` or `host:port`. */
  hosts?: readonly string[] | undefined;
  /** URL to which an RTSP camera has redirected the stream. */
  location?: string | undefined;
  /** Number of the video track, from 0; default: FFmpeg's choice of the best. */
  track?: number | undefined;
  /** How often a snapshot is requested, seconds; default 1. */
  period?: number | undefined;
  damage?: Damage | undefined;
  /** Passes the packets of an RTSP camera on to clients of the restream. */
  relay?: Relay | undefined;
  /** Hardware for decoding; default: the CPU. */
  hwaccel?: Hwaccel | undefined;
  ffmpeg?: FFmpegOptions | undefined;
}

/** @throws SourceError */
export type Opener = (url: string, options: SourceOptions, signal?: AbortSignal) => Promise<Source>;
