import type { FrameFacts } from '../src/api.ts';
import { h, streamPath } from './dom.ts';
import type { FrameSize } from './stored-boxes.ts';

const HOUR_MS = 3_600_000;
/** H.264, constrained baseline profile. Browsers read the true level from the segment. */
const TYPE = 'video/mp4; codecs="avc1.42c034"';
/** So much is fetched ahead of the picture that is shown, seconds. */
const AHEAD = 20;

interface Segment {
  name: string;
  /** Capture times of its first and last picture, epoch milliseconds. */
  from: number;
  to: number;
}

/**
 * Plays the video of a stream that STORE=video keeps, an hour's playlist after the other.
 * @param show called for each picture that is shown, with what was seen in it
 */
export function storedVideo(streamId: string, show: (frame: FrameSize | undefined, at: number) => void) {
  const video = h('video', { className: 'frame', controls: true, muted: true, hidden: true });
  let ended = new AbortController();
  /** The newest request, which does not play yet. */
  let asked = ended;

  /** @throws Error if no video of that time is stored, with the server's reason */
  async function play(time: number): Promise<void> {
    asked.abort();
    asked = new AbortController();
    const { signal } = asked;
    const hour = Math.floor(time / HOUR_MS) * HOUR_MS;
    const [date, clock = ''] = new Date(hour).toISOString().split('T');
    const folder = `${streamPath(streamId)}/video/date=${date}/hour=${clock.slice(0, 2)}`;
    const playlist = await request(`${folder}/index.m3u8`, signal);
    const segments = segmentsOf(await playlist.text());
    const first = segments.findIndex(({ to }) => to >= time);
    if (first < 0) throw new Error('no video of this time is stored');
    ended.abort();
    ended = asked;
    const seen = new Map<number, FrameSize>();
    /** Capture time of the picture on the screen. */
    let shown: number | undefined;
    const tell = () => {
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
      tell();
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
      tell();
    };
    const append = async ({ name }: Segment) => {
      // The picture does not wait for what was seen in it, which a search may have to find.
      readTrack(name).catch(() => {});
      const media = await request(`${folder}/${name}`, signal);
      buffer.appendBuffer(await media.arrayBuffer());
      await happened(buffer, 'updateend', signal);
      skipGap(video);
    };
    const [begin, ...rest] = segments.slice(first) as [Segment, ...Segment[]];
    await append(begin);
    video.currentTime = (Math.max(time, begin.from) - hour) / 1000;
    void video.play().catch(() => {});
    const feed = async () => {
      for (const segment of rest) {
        while (endOf(video) - video.currentTime > AHEAD) await happened(video, 'timeupdate', signal);
        await append(segment);
      }
      source.endOfStream();
    };
    void feed().catch(() => {});
  }

  function stop(): void {
    asked.abort();
    ended.abort();
    video.pause();
    video.hidden = true;
  }
  return { video, play, stop };
}

function endOf({ buffered }: HTMLVideoElement): number {
  return buffered.length > 0 ? buffered.end(buffered.length - 1) : 0;
}

/** Goes on with the next picture, where there is none for a while. */
function skipGap(video: HTMLVideoElement): void {
  const { buffered, currentTime } = video;
  if (video.readyState > HTMLMediaElement.HAVE_CURRENT_DATA) return;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= currentTime) continue;
    video.currentTime = buffered.start(i);
    return;
  }
}

/** The segments of a playlist. Their names begin with their capture times. */
function segmentsOf(playlist: string): Segment[] {
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
