import type { Health, LiveFrame, Session } from '../src/api.ts';
import { getJson } from './dom.ts';
import { Playout } from './playout.ts';

const SILENT_MS = 30_000;
/** A batch may well take five seconds to fill, twice. */
const DELAYED_MS = 15_000;

interface LiveStream {
  newest: LiveFrame;
  playout: Playout;
}

/** What the server tells as it happens. Silent while the page is hidden, so that a forgotten tab costs nothing. */
export class LiveFeed extends EventTarget {
  readonly streams = new Map<string, LiveStream>();
  health: Health | undefined;
  /** Since when the server has not been heard, epoch ms; `undefined` while it is. */
  lostSince: number | undefined;
  #source: EventSource | undefined;
  #clockOffset = 0;

  constructor() {
    super();
    document.addEventListener('visibilitychange', () => (document.hidden ? this.#close() : this.#open()));
    this.#open();
  }

  /** The server's clock, epoch ms. */
  now(): number {
    return Date.now() + this.#clockOffset;
  }

  #open(): void {
    if (this.#source) return;
    const source = new EventSource('api/live');
    source.addEventListener('frames', ({ data }) => this.#takeFrames(JSON.parse(data)));
    source.addEventListener('health', ({ data }) => this.#takeHealth(JSON.parse(data)));
    source.addEventListener('error', () => this.#lose());
    this.#source = source;
  }

  #close(): void {
    this.#source?.close();
    this.#source = undefined;
  }

  #takeFrames(frames: LiveFrame[]): void {
    for (const frame of frames) {
      const stream = this.streams.get(frame.stream_id) ?? { newest: frame, playout: new Playout() };
      stream.newest = frame;
      stream.playout.push(frame, Date.now());
      this.streams.set(frame.stream_id, stream);
    }
    this.dispatchEvent(new Event('frames'));
  }

  #takeHealth(health: Health): void {
    this.health = health;
    this.lostSince = undefined;
    this.#clockOffset = health.now - Date.now();
    this.dispatchEvent(new Event('health'));
  }

  // The browser connects again by itself, unless the server answered with an error: then we must.
  #lose(): void {
    this.lostSince ??= Date.now();
    this.dispatchEvent(new Event('health'));
    if (this.#source?.readyState !== EventSource.CLOSED) return;
    this.#close();
    // Where the session has ended, this leads to the log-in.
    getJson<Session>('api/session').catch(() => {});
    setTimeout(() => {
      if (!document.hidden) this.#open();
    }, 2_000);
  }
}

export type StreamState = 'live' | 'delayed' | 'silent';

/** How a stream is: frames come and are fresh, come late, or have not come for half a minute. */
export function streamState({ arrived_at, captured_at }: LiveFrame, now: number): StreamState {
  if (now - arrived_at > SILENT_MS) return 'silent';
  return arrived_at - captured_at > DELAYED_MS ? 'delayed' : 'live';
}
