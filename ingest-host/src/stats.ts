import type { Damage } from './source/source.ts';

/** Counters of one stream since the start of the process, and its current state. */
export interface StreamStats {
  state: 'connecting' | 'flowing' | 'waiting' | 'inactive' | 'ended' | 'failed';
  /** Why the stream waits or has failed; without credentials. */
  lastError: string | undefined;
  /** Number of the fallback URL that is read, from 1; undefined while the first URL is read. */
  fallback: number | undefined;
  /** The decoder: `software`, `cuda` or `vaapi`; with the reason if the wanted device is missing. */
  decoder: string | undefined;
  /** Epoch milliseconds of the last frame captured. */
  lastFrameAt: number | undefined;
  /** Decoded pictures, sampled or not. */
  decoded: number;
  /** Time of decoding, including the wait for a thread. */
  decodeSeconds: number;
  /** Sampled frames; also the number of the next frame. */
  captured: number;
  published: number;
  /** Dropped frames, for any reason. */
  dropped: number;
  /** Dropped because no JPEG within MAX_FRAME_BYTES was possible. Kafka did not accept the others in time. */
  unfit: number;
  /** Coded pictures that were left out, by the kind of damage to them or to pictures that they refer to. */
  damaged: Damage;
  /** Sampled frames that were not sent because nothing moved. */
  still: number;
  /** Sampled frames that were not sent because the pipeline was too slow. */
  thinned: number;
  /** Current limit of frames a second by thinning. */
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
