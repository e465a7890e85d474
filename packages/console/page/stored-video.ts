import { HOUR_MS, hourFolder } from '@video-pipeline/frame/hours';
import type { FrameFacts } from '../src/api.ts';
import { h, insist, streamPath } from './dom.ts';
import type { FrameSize } from './stored-boxes.ts';

/** H.264, constrained baseline profile. Browsers read the true level from the segment. */
const TYPE = 'video/mp4; codecs="avc1.42c034"';
/** Media is fetched this far ahead of the picture that is shown, seconds. */
const AHEAD = 20;
/** Longest wait for an answer, milliseconds. */
const ANSWER_MS = 30_000;

/**
 * Plays the stored video of a stream (STORE=video), the playlist of one hour after another.
 * @param show called for each picture that is shown, with its detections
 */
export function storedVideo(streamId: string, show: (frame: FrameSize | undefined, at: number) => void) {
  const video = h('video.frame', { controls: true, muted: true, hidden: true });
  let loading = new AbortController();
  /** The hour that plays, epoch milliseconds. */
  let playing: number | undefined;

  /** Ends what plays. @returns aborts when something else is to play */
  function begin(): AbortSignal {
    loading.abort();
    playing = undefined;
    loading = new AbortController();
    return loading.signal;
  }

  /**
   * Resolves when the rest of the hour is loaded, or at once if the picture is.
   * @throws Error if the video of that time, or a later part of its hour, is not stored, with the server's reason
   */
  async function play(time: number): Promise<void> {
    const hour = Math.floor(time / HOUR_MS) * HOUR_MS;
    const seconds = (time - hour) / 1000;
    const isLoaded = loaded(video).some(({ start, end }) => start <= seconds && seconds < end);
    if (hour === playing && isLoaded && !video.error) return playFrom(seconds);
    await start(hour, time, request, begin());
  }

  /**
   * @param ask for the first picture: without it, nothing plays
   * @param asking aborts the request for the playlist. Until it is there, detections of the former hour may come
   */
  async function start(hour: number, time: number, ask: typeof request, asking: AbortSignal): Promise<void> {
    const folder = `${streamPath(streamId)}/video/${hourFolder(hour)}`;
    const playlist = await ask(`${folder}/index.m3u8`, asking);
    const segments = segmentsOf(await playlist.text());
    const first = segments.findIndex(({ to }) => to >= time);
    const from = segments[first];
    if (!from) throw new Error('no video of this time is stored');
    const signal = begin();
    const seen = new Map<number, FrameSize>();
    /** Segments without detections, as the server failed while none of their pictures was shown. */
    const missed = new Set<Segment>();
    /** Capture time of the picture on the screen. */
    let shown = Number.NaN;
    const isShown = ({ from, to }: Segment) => from <= shown && shown <= to;
    const report = () => {
      if (signal.aborted || Number.isNaN(shown)) return;
      show(seen.get(shown), shown);
      for (const segment of missed) if (isShown(segment)) readTrack(segment).catch(() => {});
    };
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    signal.addEventListener('abort', () => URL.revokeObjectURL(video.src));
    video.hidden = false;
    video.onwaiting = () => skipGap(video);
    const next = hour + HOUR_MS;
    video.onended = () => void start(next, next, requestAgain, signal).catch(() => {});
    const onPicture: VideoFrameRequestCallback = (_now, { mediaTime }) => {
      if (signal.aborted) return;
      shown = hour + Math.round(mediaTime * 1000);
      report();
      video.requestVideoFrameCallback(onPicture);
    };
    video.requestVideoFrameCallback(onPicture);
    await happened(source, 'sourceopen', signal);
    const buffer = source.addSourceBuffer(TYPE);
    const readTrack = async (segment: Segment) => {
      missed.delete(segment);
      const path = `${folder}/${segment.name.replace(/mp4$/, 'vtt')}`;
      const miss = (error: Error) => {
        if (isShown(segment)) return;
        missed.add(segment);
        throw error;
      };
      const track = await insist(() => request(path, signal), signal, miss);
      // Each cue is a line of JSON.
      for (const cue of (await track.text()).split('\n').filter((line) => line.startsWith('{'))) {
        const frame: FrameFacts = JSON.parse(cue);
        seen.set(frame.captured_at, frame);
      }
      report();
    };
    const append = async (segment: Segment, ask = requestAgain) => {
      // The picture does not wait for its detections, for which a search may be necessary.
      readTrack(segment).catch(() => {});
      const media = await ask(`${folder}/${segment.name}`, signal);
      buffer.appendBuffer(await media.arrayBuffer());
      await happened(buffer, 'updateend', signal);
      skipGap(video);
    };
    await append(from, ask);
    playing = hour;
    playFrom((Math.max(time, from.from) - hour) / 1000);
    const isAhead = () => (loaded(video).at(-1)?.end ?? 0) - video.currentTime > AHEAD;
    for (const segment of segments.slice(first + 1)) {
      while (isAhead()) await happened(video, 'timeupdate', signal);
      await append(segment);
    }
    source.endOfStream();
  }

  /** @param seconds of the hour */
  function playFrom(seconds: number): void {
    video.currentTime = seconds;
    void video.play().catch(() => {});
  }

  function stop(): void {
    begin();
    video.pause();
    video.hidden = true;
  }
  return { video, play, stop };
}

/** The ranges of media that are loaded, seconds. */
function loaded({ buffered }: HTMLVideoElement): { start: number; end: number }[] {
  const { length } = buffered;
  return Array.from({ length }, (_, i) => ({ start: buffered.start(i), end: buffered.end(i) }));
}

/** Skips to the next picture where there is none for a while. */
function skipGap(video: HTMLVideoElement): void {
  if (video.readyState > HTMLMediaElement.HAVE_CURRENT_DATA) return;
  const next = loaded(video).find(({ start }) => start > video.currentTime);
  if (next) video.currentTime = next.start;
}

interface Segment {
  /** Begins with the capture times of its first and last picture. */
  name: string;
  from: number;
  to: number;
}

function segmentsOf(playlist: string): Segment[] {
  const names = playlist.split('\n').filter((line) => line.endsWith('.mp4'));
  return names.map((name) => {
    const [from = 0, to = 0] = name.split('-').map(Number);
    return { name, from, to };
  });
}

const requestAgain = (path: string, signal: AbortSignal) => insist(() => request(path, signal), signal);

async function request(path: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(path, { signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]) });
  if (response.ok) return response;
  throw new Error((await response.json()).error ?? response.statusText, { cause: response.status });
}

/** Resolves at the next event of this name, and rejects when the signal aborts. */
async function happened(target: EventTarget, name: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const over = new AbortController();
  const once = { once: true, signal: over.signal };
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  target.addEventListener(name, resolve, once);
  signal.addEventListener('abort', () => reject(signal.reason), once);
  await promise.finally(() => over.abort());
}
