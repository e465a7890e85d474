import { HOUR_MS, hourFolder } from '@video-pipeline/frame/hours';
import type { FrameFacts } from '../src/api.ts';
import { h, streamPath } from './dom.ts';
import type { FrameSize } from './stored-boxes.ts';

/** H.264, constrained baseline profile. Browsers read the true level from the segment. */
const TYPE = 'video/mp4; codecs="avc1.42c034"';
/** Media is fetched this far ahead of the picture that is shown, seconds. */
const AHEAD = 20;

/**
 * Plays the stored video of a stream (STORE=video), the playlist of one hour after another.
 * @param show called for each picture that is shown, with its detections
 */
export function storedVideo(streamId: string, show: (frame: FrameSize | undefined, at: number) => void) {
  const video = h('video', { className: 'frame', controls: true, muted: true, hidden: true });
  let asked = new AbortController();
  /** The hour that plays, epoch milliseconds. */
  let playing: number | undefined;

  /** @throws Error if no video of that time is stored, with the server's reason */
  async function play(time: number): Promise<void> {
    const hour = Math.floor(time / HOUR_MS) * HOUR_MS;
    const seconds = (time - hour) / 1000;
    const isLoaded = loaded(video).some(({ start, end }) => start <= seconds && seconds < end);
    if (hour === playing && isLoaded && !video.error) return playFrom(seconds);
    asked.abort();
    playing = undefined;
    asked = new AbortController();
    const { signal } = asked;
    const folder = `${streamPath(streamId)}/video/${hourFolder(hour)}`;
    const playlist = await request(`${folder}/index.m3u8`, signal);
    const segments = segmentsOf(await playlist.text());
    const first = segments.findIndex(({ to }) => to >= time);
    const begin = segments[first];
    if (!begin) throw new Error('no video of this time is stored');
    const seen = new Map<number, FrameSize>();
    /** Capture time of the picture on the screen. */
    let shown: number | undefined;
    const report = () => {
      if (shown !== undefined && !signal.aborted) show(seen.get(shown), shown);
    };
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    signal.addEventListener('abort', () => URL.revokeObjectURL(video.src));
    video.hidden = false;
    video.onwaiting = () => skipGap(video);
    video.onended = () => void play(hour + HOUR_MS).catch(() => {});
    const onPicture: VideoFrameRequestCallback = (_now, { mediaTime }) => {
      if (signal.aborted) return;
      shown = hour + Math.round(mediaTime * 1000);
      report();
      video.requestVideoFrameCallback(onPicture);
    };
    video.requestVideoFrameCallback(onPicture);
    await happened(source, 'sourceopen', signal);
    const buffer = source.addSourceBuffer(TYPE);
    const readTrack = async (name: string) => {
      const track = await request(`${folder}/${name.replace(/mp4$/, 'vtt')}`, signal);
      // Each cue is a line of JSON.
      for (const cue of (await track.text()).split('\n').filter((line) => line.startsWith('{'))) {
        const frame: FrameFacts = JSON.parse(cue);
        seen.set(frame.captured_at, frame);
      }
      report();
    };
    const append = async (name: string) => {
      // The picture does not wait for its detections, for which a search may be necessary.
      readTrack(name).catch(() => {});
      const media = await request(`${folder}/${name}`, signal);
      buffer.appendBuffer(await media.arrayBuffer());
      await happened(buffer, 'updateend', signal);
      skipGap(video);
    };
    await append(begin.name);
    playing = hour;
    playFrom(Math.max(seconds, (begin.from - hour) / 1000));
    const feed = async () => {
      const isAhead = () => (loaded(video).at(-1)?.end ?? 0) - video.currentTime > AHEAD;
      for (const { name } of segments.slice(first + 1)) {
        while (isAhead()) await happened(video, 'timeupdate', signal);
        await append(name);
      }
      source.endOfStream();
    };
    void feed().catch(() => {});
  }

  /** @param seconds of the hour */
  function playFrom(seconds: number): void {
    video.currentTime = seconds;
    void video.play().catch(() => {});
  }

  function stop(): void {
    asked.abort();
    playing = undefined;
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

/** The segments of a playlist. Their names begin with the capture times of their first and last picture. */
function segmentsOf(playlist: string): { name: string; from: number; to: number }[] {
  const names = playlist.split('\n').filter((line) => line.endsWith('.mp4'));
  return names.map((name) => {
    const [from = 0, to = 0] = name.split('-').map(Number);
    return { name, from, to };
  });
}

async function request(path: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(path, { signal });
  if (!response.ok) throw new Error((await response.json()).error ?? response.statusText);
  return response;
}

/** Resolves at the next event of this name, and rejects when the signal aborts. */
function happened(target: EventTarget, name: string, signal: AbortSignal): Promise<Event> {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true, signal });
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
