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
    const folder = folderOf(streamId, hour);
    const segments = segmentsOf(await read(`${folder}/index.m3u8`, signal, 'text'));
    const first = segments.findIndex(({ to }) => to >= time);
    if (first < 0) throw new Error('no video of this time is stored');
    ended.abort();
    ended = asked;
    const seen = new Map<number, FrameSize>();
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    signal.addEventListener('abort', () => URL.revokeObjectURL(video.src));
    video.hidden = false;
    video.onwaiting = () => skipGap(video);
    video.onended = () => void play(hour + HOUR_MS).catch(() => {});
    const onPicture: VideoFrameRequestCallback = (_now, { mediaTime }) => {
      if (signal.aborted) return;
      const at = hour + Math.round(mediaTime * 1000);
      show(seen.get(at), at);
      video.requestVideoFrameCallback(onPicture);
    };
    video.requestVideoFrameCallback(onPicture);
    await happened(source, 'sourceopen', signal);
    const buffer = source.addSourceBuffer(TYPE);
    const append = async ({ name }: Segment) => {
      const track = read(`${folder}/${name.replace(/mp4$/, 'vtt')}`, signal, 'text').catch(() => '');
      buffer.appendBuffer(await read(`${folder}/${name}`, signal, 'arrayBuffer'));
      await happened(buffer, 'updateend', signal);
      for (const frame of framesIn(await track)) seen.set(frame.captured_at, frame);
      skipGap(video);
    };
    const [begin, ...rest] = segments.slice(first) as [Segment, ...Segment[]];
    await append(begin);
    video.currentTime = (Math.max(time, begin.from) - hour) / 1000;
    void video.play().catch(() => {});
    void feed(rest, append, video, signal, () => source.endOfStream()).catch(() => {});
  }

  function stop(): void {
    asked.abort();
    ended.abort();
    video.pause();
    video.hidden = true;
  }
  return { video, play, stop };
}

/** Appends segments one after another, never far ahead of what is shown. */
async function feed(
  segments: readonly Segment[],
  append: (segment: Segment) => Promise<void>,
  video: HTMLVideoElement,
  signal: AbortSignal,
  done: () => void,
): Promise<void> {
  for (const segment of segments) {
    while (endOf(video) - video.currentTime > AHEAD) await happened(video, 'timeupdate', signal);
    await append(segment);
  }
  done();
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

/** Address of the folder of an hour. */
function folderOf(streamId: string, hour: number): string {
  const [date, time = ''] = new Date(hour).toISOString().split('T');
  return `${streamPath(streamId)}/video/date=${date}/hour=${time.slice(0, 2)}`;
}

/** The segments of a playlist. Their names begin with their capture times. */
function segmentsOf(playlist: string): Segment[] {
  const names = playlist.split('\n').filter((line) => line.endsWith('.mp4'));
  return names.map((name) => {
    const [from = 0, to = 0] = name.split('-').map(Number);
    return { name, from, to };
  });
}

/** The frames of a side track: each cue is a line of JSON. */
function framesIn(track: string): FrameFacts[] {
  const lines = track.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line));
}

async function read<As extends 'text' | 'arrayBuffer'>(
  path: string,
  signal: AbortSignal,
  as: As,
): Promise<As extends 'text' ? string : ArrayBuffer> {
  const response = await fetch(path, { signal });
  if (!response.ok) throw new Error((await response.json()).error ?? response.statusText);
  return response[as]() as never;
}

/** Resolves at the next event of this name, and rejects when the signal aborts. */
function happened(target: EventTarget, name: string, signal: AbortSignal): Promise<Event> {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true, signal });
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
