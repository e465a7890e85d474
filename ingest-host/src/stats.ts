/** Counters of one stream since the process began, and what it is doing now. */
export interface StreamStats {
  state: 'connecting' | 'flowing' | 'waiting' | 'ended';
  /** Why it waits; no credentials. */
  lastError: string | undefined;
  /** Epoch milliseconds of the last frame captured. */
  lastFrameAt: number | undefined;
  /** Also the number of the next frame. */
  captured: number;
  published: number;
  dropped: number;
  reconnects: number;
  /** JPEG bytes acknowledged by Kafka. */
  bytes: number;
}

export function createStats(): StreamStats {
  return {
    state: 'connecting',
    lastError: undefined,
    lastFrameAt: undefined,
    captured: 0,
    published: 0,
    dropped: 0,
    reconnects: 0,
    bytes: 0,
  };
}
