import type { FrameFacts } from '../src/api.ts';
import { button, getJson, h, setText, streamPath } from './dom.ts';
import { dateTime, summary, timeOf } from './format.ts';
import { frameUrl, onMissing } from './picture.ts';
import { storedBoxes } from './stored-boxes.ts';
import { storedVideo } from './stored-video.ts';

/** How long the pointer must rest before its picture is fetched, milliseconds. */
const REST_MS = 40;

/** Step of the playhead by an arrow key, milliseconds; less on a short chart. */
const STEP_MS = 1_000;

/**
 * The picture of one stream at the pointer's time, its video from there on, and the playhead. Only the newest request
 * is fetched.
 * @param streams nothing is shown unless there is exactly one
 * @param range times at the two ends of the playhead's range, epoch ms
 */
export function preview(
  [stream = '', ...others]: readonly string[],
  { from, to }: { from: number; to: number },
  signal: AbortSignal,
) {
  const picture = h('img.frame', { alt: '', hidden: true });
  const text = h(
    'p.dim',
    { role: 'status' },
    'Point at the chart to see the picture of that time, click or drag the playhead to play from there.',
  );
  const player = storedVideo(stream, (frame, at) => {
    boxes.show(frame);
    mark(at);
    text.replaceChildren(timeOf(at), frame ? ` ${summary(frame.detections)}` : '');
  });
  const boxes = storedBoxes(picture, player.video);
  let now = 0;
  const playing = button('Play from here', { onclick: () => (isPlaying ? stop() : play(now)) });
  const element = h('div.preview', boxes.element, h('div.bar', playing, boxes.toggle), text);
  // Its value comes last: the browser fits it into the range.
  const playhead = h('input.playhead', {
    ...{ type: 'range', ariaLabel: 'Playhead' },
    ...{ min: from, max: to, step: Math.min(STEP_MS, (to - from) / 100), value: from },
    oninput: () => {
      mark(playhead.valueAsNumber);
      rest(playhead.valueAsNumber);
    },
    onchange: () => play(playhead.valueAsNumber),
  });
  element.hidden = playhead.hidden = stream === '' || others.length > 0;
  let wanted: number | undefined;
  let busy = false;
  let isPlaying = false;
  let timer = 0;
  const next = async () => {
    if (busy || wanted === undefined) return;
    busy = true;
    now = wanted;
    wanted = undefined;
    mark(now);
    try {
      const frame = await getJson<FrameFacts>(`${streamPath(stream)}/near/${now}`, { signal });
      if (isPlaying) return;
      picture.src = frameUrl(frame, 'annotated', 'jpg');
      picture.hidden = false;
      picture.alt = summary(frame.detections);
      boxes.show(frame);
      text.replaceChildren(timeOf(frame.captured_at), ` ${picture.alt}`);
    } catch (error) {
      if (isPlaying) return;
      picture.hidden = true;
      boxes.show();
      setText(text, (error as Error).message);
    } finally {
      busy = false;
      void next();
    }
  };
  onMissing(picture, (reason) => {
    picture.hidden = true;
    boxes.show();
    text.append(` ${reason}`);
  });
  signal.addEventListener('abort', player.stop);
  return { element, playhead, show, play };

  /** Moves the playhead to a time, unless the user is dragging it. */
  function mark(time: number): void {
    if (!playhead.matches(':active')) playhead.value = String(time);
    playhead.ariaValueText = dateTime(time);
  }

  function show(time: number): void {
    if (!element.hidden && !isPlaying) rest(time);
  }

  /** Shows the picture of this time, unless another one is asked for at once. */
  function rest(time: number): void {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      if (isPlaying) stop();
      wanted = time;
      void next();
    }, REST_MS);
  }

  function stop(): void {
    isPlaying = false;
    player.stop();
    boxes.show();
    picture.hidden = !picture.src;
    setText(playing, 'Play from here');
  }

  /** Plays from this time, also while another time plays. */
  function play(time: number): void {
    if (element.hidden) return;
    clearTimeout(timer);
    now = time;
    wanted = undefined;
    isPlaying = true;
    setText(playing, 'Stop');
    picture.hidden = true;
    boxes.show();
    player.play(time).catch((error: Error) => {
      if (error.name === 'AbortError') return;
      stop();
      setText(text, `This can't be played: ${error.message}`);
    });
  }
}
