import type { Damage } from './source/source.ts';

type State = 'connecting' | 'flowing' | 'waiting' | 'inactive' | 'ended' | 'failed';

export type StreamStats = ReturnType<typeof createStats>;

/** Counters of one stream since the start of the process, and its current state. */
export function createStats() {
  return {
    state: 'connecting' as State,
    /** Why the stream waits or has failed; without credentials. */
    lastError: undefined as string | undefined,
    /** Number of the fallback URL that is read, from 1; undefined while the first URL is read. */
    fallback: undefined as number | undefined,
    /** The decoder: `software`, `cuda` or `vaapi`; with the reason if the wanted device is missing. */
    decoder: undefined as string | undefined,
    /** Epoch milliseconds of the last frame captured. */
    lastFrameAt: undefined as number | undefined,
    /** Decoded pictures, sampled or not. */
    decoded: 0,
    /** Time of decoding, including the wait for a thread. */
    decodeSeconds: 0,
    /** Sampled frames; also the number of the next frame. */
    captured: 0,
    published: 0,
    /** Dropped frames, for any reason. */
    dropped: 0,
    /** Dropped because no JPEG within MAX_FRAME_BYTES was possible. Kafka did not accept the others in time. */
    unfit: 0,
    /** Coded pictures that were left out, by the kind of damage to them or to pictures that they refer to. */
    damaged: { lost: 0, corrupt: 0, undecodable: 0 } satisfies Damage,
    /** Sampled frames that were not sent because nothing moved. */
    still: 0,
    /** Sampled frames that were not sent because the pipeline was too slow. */
    thinned: 0,
    /** Current limit of frames a second by thinning. */
    thinnedTo: undefined as number | undefined,
    reconnects: 0,
    /** JPEG bytes acknowledged by Kafka. */
    bytes: 0,
  };
}
