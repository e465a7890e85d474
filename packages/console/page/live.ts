import type { FrameFacts, Health, LiveFrame, Session, StreamStatus } from '../src/api.ts';
import { API, getJson } from './dom.ts';
import { clock } from './format.ts';
import { Playout } from './playout.ts';

const SILENT_MS = 30_000;
/** Without a health message for this long, ms, the server or the network hangs. The server sends one a second. */
const LOST_MS = 8_000;
/** A picture older than this is not called live, milliseconds. */
const LIVE_MS = 5_000;

interface LiveStream {
  newest: LiveFrame;
  playout: Playout;
}

/** Shows one view of the page in `root`. @returns ends the view */
export type View = (root: HTMLElement, opened: ViewInput) => (() => void) | undefined;

/** Input of a view: the live messages, and the parts of its address. */
export interface ViewInput {
  live: LiveFeed;
  /** Empty where the address names none. */
  stream: string;
  query: URLSearchParams;
}

/** The server's live messages. It is closed while the page is hidden, so that a forgotten tab costs nothing. */
export class LiveFeed extends EventTarget {
  readonly streams = new Map<string, LiveStream>();
  health: Health | undefined;
  /** All streams by id, whether they send or not. `undefined` until the server has sent the list. */
  statuses: ReadonlyMap<string, StreamStatus> | undefined;
  /** Since when the server has been silent, epoch ms; `undefined` while it sends. */
  lostSince: number | undefined;
  #source: EventSource | undefined;
  #clockOffset = 0;
  #deadline = 0;

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
    const source = new EventSource(`${API}/live`);
    source.addEventListener('frames', ({ data }) => this.#takeFrames(JSON.parse(data)));
    source.addEventListener('streams', ({ data }) => this.#takeStreams(JSON.parse(data)));
    source.addEventListener('health', ({ data }) => this.#takeHealth(JSON.parse(data)));
    source.addEventListener('error', () => this.#lose());
    this.#source = source;
    this.#heard();
  }

  #close(): void {
    clearTimeout(this.#deadline);
    this.#source?.close();
    this.#source = undefined;
  }

  #heard(): void {
    clearTimeout(this.#deadline);
    this.#deadline = window.setTimeout(() => {
      this.#close();
      this.#lose();
    }, LOST_MS);
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

  #takeStreams(streams: StreamStatus[]): void {
    this.statuses = new Map(streams.map((stream) => [stream.stream_id, stream]));
    // Streams that the server has forgotten would fill the memory of a page that stays open.
    for (const id of this.streams.keys()) if (!this.statuses.has(id)) this.streams.delete(id);
    this.dispatchEvent(new Event('streams'));
  }

  #takeHealth(health: Health): void {
    this.#heard();
    this.health = health;
    this.lostSince = undefined;
    this.#clockOffset = health.now - Date.now();
    this.dispatchEvent(new Event('health'));
  }

  // The browser reconnects on its own, unless the server answered with an error. Then we have to reconnect.
  #lose(): void {
    this.lostSince ??= Date.now();
    this.dispatchEvent(new Event('health'));
    if (this.#source && this.#source.readyState !== EventSource.CLOSED) return;
    this.#close();
    // If the session has expired, this request leads to the log-in.
    getJson<Session>(`${API}/session`).catch(() => {});
    setTimeout(() => document.hidden || this.#open(), 2_000);
  }
}

type StreamState = 'live' | 'late' | 'silent' | 'starting' | 'failing' | 'ended' | 'inactive' | 'disabled';

interface StreamCondition {
  state: StreamState;
  /** Details for people; may be empty. */
  why: string;
}

export const THINNED = 'thinned, as the pipeline takes fewer frames than the camera gives';

const AT_CAMERA: Record<string, StreamCondition> = {
  connecting: { state: 'starting', why: 'connecting to the camera' },
  flowing: { state: 'starting', why: 'the camera sends; nothing has come through detection yet' },
  ended: { state: 'ended', why: 'the video has ended' },
  inactive: { state: 'inactive', why: 'out of its active hours' },
};

/**
 * State of a stream, from ingest's report on its camera and from its frames: live, late, or none for half a minute.
 * @param now the server's clock, epoch ms
 * @param shown the frame on the screen, if it is not the newest one
 */
export function streamState(
  status: StreamStatus | undefined,
  newest: LiveFrame | undefined,
  now: number,
  shown: FrameFacts | undefined = newest,
): StreamCondition {
  if (status?.disabled) return { state: 'disabled', why: 'disabled in the list of streams' };
  const { camera } = status ?? {};
  const isFresh = newest !== undefined && now - newest.arrived_at <= SILENT_MS;
  if (camera?.error && camera.state !== 'flowing' && !isFresh)
    return {
      state: 'failing',
      why: camera.state === 'failed' ? camera.error : `${camera.error}; tried again`,
    };
  if (shown && isFresh) {
    const isLate = now - shown.captured_at > LIVE_MS;
    return { state: isLate ? 'late' : 'live', why: camera?.thinned ? THINNED : '' };
  }
  const atCamera = camera && camera.state !== 'flowing' ? AT_CAMERA[camera.state] : undefined;
  if (atCamera) return atCamera;
  if (newest) return { state: 'silent', why: `since ${clock(newest.arrived_at)}` };
  return camera ? (AT_CAMERA[camera.state] ?? silent) : silent;
}

const silent: StreamCondition = { state: 'silent', why: 'nothing has come since this page was opened' };
