import type { Damage } from './source/source.ts';

/** Counters of one stream since the process began, and what it is doing now. */
export interface StreamStats {
  state: 'connecting' | 'flowing' | 'waiting' | 'inactive' | 'ended' | 'failed';
  /** Why it waits; no credentials. */
  lastError: string | undefined;
  /** Which fallback URL is read, from 1; undefined while it is the first. */
  fallback: number | undefined;
  /** What decodes: `software`, `cuda`, `vaapi`; with the reason where a device was wanted and is not there. */
  decoder: string | undefined;
  /** Epoch milliseconds of the last frame captured. */
  lastFrameAt: number | undefined;
  /** Pictures that the decoder gave, sampled or not. */
  decoded: number;
  /** What decoding took, the wait for a thread included. */
  decodeSeconds: number;
  /** Also the number of the next frame. */
  captured: number;
  published: number;
  /** Let go, for whatever reason. */
  dropped: number;
  /** Of those, the ones that were no JPEG within MAX_FRAME_BYTES; the others Kafka did not take in time. */
  unfit: number;
  /** Coded pictures left out, by what befell them or those that they build on. */
  damaged: Damage;
  /** Sampled and not sent, as nothing moved. */
  still: number;
  /** Sampled and not sent, as the pipeline could not take more in time. */
  thinned: number;
  /** Frames a second that it is thinned to now. */
  thinnedTo: number | undefined;
  reconnects: number;
  /** JPEG bytes acknowledged by Kafka. */
  bytes: number;
}

export function createStats(): StreamStats {
  return {
    state: 'connecting',
    lastError: undefined,
    fallback: undefined,
    decoder: undefined,
    lastFrameAt: undefined,
    decoded: 0,
    decodeSeconds: 0,
    captured: 0,
    published: 0,
    dropped: 0,
    unfit: 0,
    damaged: { lost: 0, corrupt: 0, undecodable: 0 },
    still: 0,
    thinned: 0,
    thinnedTo: undefined,
    reconnects: 0,
    bytes: 0,
  };
}
