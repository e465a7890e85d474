import type { Relay } from '@video-pipeline/camera';
import { TRANSPORTS } from '@video-pipeline/scene';
import type { Packet } from 'node-av/lib';
import type { RawFrame } from '../raw-frame.ts';
import type { FFmpegOptions } from './ffmpeg-options.ts';
import type { VideoFormat } from './video-format.ts';

/** A decoded picture. `frame` belongs to the source and is overwritten by the next one. */
export interface Picture {
  frame: RawFrame;
  /** Presentation time, seconds, on the source's own clock; arrival where it has none. */
  time: number;
  /** When it was captured by the camera's own account, epoch milliseconds: RTCP, or an HLS list's date; else absent. */
  wallClock?: number;
  /** What decoding took since the picture before, milliseconds, the wait for a thread of the pool included. */
  decodeMs: number;
}

/** Coded pictures that were not given, by what befell them, or the picture that they build on. */
export interface Damage {
  /** It did not come. */
  lost: number;
  /** The network or the container says that it is damaged. */
  corrupt: number;
  /** The decoder made nothing whole of it. */
  undecodable: number;
}

/** Asked for each coded picture before it is decoded, in decoding order, with its time, seconds, NaN without one. */
export type MayWant = (time: number, packet: Packet) => boolean;

/** One opened camera or file. */
export interface Source {
  /** What the video is; complete once a picture has come. */
  readonly format: VideoFormat;
  /**
   * Whether its pictures come as the camera gives them, so that the end is a break; else it can wait, and its end is
   * the end.
   */
  readonly live: boolean;
  /** When its first picture was captured, epoch milliseconds, as a file's container says; absent without that. */
  readonly recordedAt?: number | undefined;
  /** How long its pictures may have been on their way, milliseconds; default what a camera's may. */
  readonly maxDelayMs?: number;
  /** What decodes it: `software`, `cuda`, `vaapi`; with the reason where a device was wanted and is not there. */
  readonly device: string;
  /** What it waits for while packets come and no picture does. */
  readonly awaited: string;
  /**
   * Pictures in presentation order, until the source ends.
   * @param mayWant a picture that is not wanted is left out if no other builds on it
   * @throws SourceError when it breaks off
   */
  pictures(mayWant?: MayWant): AsyncGenerator<Picture, void>;
  /** Makes a read in progress, and every later one, fail at once. May be called at any time. */
  interrupt(): void;
  close(): Promise<void>;
}

export { TRANSPORTS };
export type Transport = (typeof TRANSPORTS)[number];

/** What may decode in the place of the CPU. Here, since a deploy reads the list of streams, and loads no FFmpeg. */
export const HWACCELS = ['cuda', 'vaapi', 'auto'] as const;
export type Hwaccel = (typeof HWACCELS)[number];

export interface SourceOptions {
  /** How RTSP carries the packets; `auto` is TCP, and UDP with a camera that refuses it; `http` a tunnel through HTTP. */
  transport: Transport;
  /** Longest wait for a packet, seconds. */
  timeoutSeconds: number;
  /** Have RTSP cameras send their audio too, so that {@link Source.format} knows of it; it is thrown away. */
  audio?: boolean;
  /** Hosts beside the source's own that redirects and lists may lead to: `host` or `host:port`. */
  hosts?: readonly string[];
  /** Number of the video track, from 0; default what FFmpeg takes for the best. */
  track?: number;
  /** How often a snapshot's URL is asked for, seconds; default 1. */
  period?: number;
  /** Where damaged pictures are counted. */
  damage?: Damage;
  /** What passes an RTSP camera's packets on. */
  relay?: Relay;
  /** What decodes; default the CPU. */
  hwaccel?: Hwaccel;
  ffmpeg?: FFmpegOptions;
}

/** @throws SourceError */
export type Opener = (url: string, options: SourceOptions, signal?: AbortSignal) => Promise<Source>;
