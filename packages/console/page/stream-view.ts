import type { FrameFacts } from '../src/api.ts';
import { type BoxFilter, SHOW_ALL, visible } from './boxes.ts';
import { detectionPanel } from './detection-panel.ts';
import { button, h, numbers, repeat, rowOf, setText, tableOf } from './dom.ts';
import { eventsPanel } from './events-panel.ts';
import { filterPanel } from './filter-panel.ts';
import { byName, duration, rate, timeOf } from './format.ts';
import { streamState, type ViewInput } from './live.ts';
import { frameId, frameUrl, pictureOn } from './picture.ts';
import { createPlayer } from './player.ts';
import { scenePanel } from './scene-panel.ts';
import { timelinePanel } from './timeline-panel.ts';

/** One stream, live or frame by frame. @returns ends the view */
export function streamView(root: HTMLElement, { live, stream: streamId }: ViewInput): () => void {
  const ended = new AbortController();
  const { signal } = ended;
  const filter: BoxFilter & { hidden: Set<string> } = { ...SHOW_ALL, hidden: new Set() };
  const canvas = h('canvas.screen', { role: 'img', width: 1280, height: 720, ariaLabel: streamId });
  const scene = scenePanel({ streamId, canvas, filter, redraw: () => picture.redraw(), signal });
  const picture = pictureOn(canvas, () => filter, false, scene.draw);
  const nowhere = `There is no stream '${streamId}': neither in the list of streams nor sending.`;
  const unknown = h('p', { role: 'status', hidden: true }, nowhere);
  const state = h('span.state');
  const facts = h('span.num.dim');
  const columns = ['Class', 'Confidence', 'Box'];
  const { table, body } = tableOf(columns, { ariaLabel: 'Detections of this frame' });
  const refresh = () => {
    picture.redraw();
    showDrawn();
  };
  const panel = filterPanel(filter, refresh);
  const detection = detectionPanel(streamId, signal);
  const timeline = timelinePanel(streamId);
  const events = eventsPanel(streamId);
  const links = h('span.bar');
  const player = createPlayer(streamId, show, picture.frame);

  const title = h('h1', streamId);
  const others = h('span.bar');
  const full = button('Full screen');
  full.onclick = () =>
    document.fullscreenElement ? document.exitFullscreen() : full.closest('.picture')?.requestFullscreen();

  const day = h('a', { href: `#/timeline?stream=${encodeURIComponent(streamId)}` }, 'Timeline of the day');
  const bar = h('div.bar', player.bar, full, state, facts);
  const main = h('div.picture', canvas, scene.editor, detection.comparison, bar, links);
  main.append(events.element, timeline.element);
  const side = h('aside', { ariaLabel: 'Filters, zones and detections' });
  side.append(panel.element, detection.element, scene.element, table);
  root.append(title, h('p', day), others, unknown, h('div.stream', main, side));

  async function show(frame: FrameFacts): Promise<void> {
    panel.addClasses(frame.detections);
    timeline.addClasses(frame.detections);
    scene.addFrame(frame);
    await picture.show(frame);
    showDrawn();
  }
  function showDrawn(): void {
    const frame = picture.frame();
    if (!frame) return;
    const rows = visible(frame.detections, filter).map(({ class_name, confidence, bbox }) =>
      rowOf(...[class_name, confidence.toFixed(2), bbox.map(Math.round).join(', ')].map(numbers)),
    );
    body.replaceChildren(...rows);
    links.replaceChildren(...frameLinks(frame));
  }
  function showState(): void {
    const newest = live.streams.get(streamId)?.newest;
    const now = live.now();
    const frame = picture.frame();
    const { state: is, why } = streamState(live.statuses?.get(streamId), newest, now, frame);
    state.className = `state ${is}`;
    setText(state, why ? `${is}: ${why}` : is);
    setText(title, live.statuses?.get(streamId)?.name ?? streamId);
    showOthers(others, [...(live.statuses?.keys() ?? [])].sort(byName), streamId);
    const isUnknown = live.statuses?.has(streamId) === false && !newest;
    unknown.hidden = !isUnknown;
    if (!newest || !frame) return;
    const fps = rate(is === 'live' || is === 'late' ? newest.fps : 0);
    const ago = duration(now - frame.captured_at);
    setText(facts, `${fps} fps, frame ${frame.frame_number}, ${ago} ago, ${frame.model}`);
  }

  const newest = live.streams.get(streamId)?.newest;
  if (newest) show(newest);
  const play = () => {
    const due = live.streams.get(streamId)?.playout.due(Date.now());
    if (due && !player.isPaused()) show(due);
    frameRequest = requestAnimationFrame(play);
  };
  let frameRequest = requestAnimationFrame(play);
  const stops = [
    repeat(showState, 250),
    repeat(timeline.refresh, 5_000),
    repeat(scene.refresh, 5_000),
    repeat(() => (live.health?.parts.kafka?.ok === false ? undefined : events.refresh()), 2_000),
    scene.end,
    () => ended.abort(),
  ];
  document.addEventListener('keydown', player.key);
  return () => {
    cancelAnimationFrame(frameRequest);
    document.removeEventListener('keydown', player.key);
    for (const stop of stops) stop();
  };
}

/** Links to the previous and the next camera. After the last one comes the first. */
function showOthers(element: HTMLElement, ids: readonly string[], streamId: string): void {
  const at = ids.indexOf(streamId);
  const around = at < 0 || ids.length < 2 ? [] : [ids.at(at - 1), ids[(at + 1) % ids.length]];
  if (element.dataset.around === around.join(' ')) return;
  element.dataset.around = around.join(' ');
  const words = ['Previous camera', 'Next camera'];
  element.replaceChildren(
    ...around.map((id, i) => h('a', { href: `#/stream/${id}`, title: id }, words[i] ?? '')),
  );
}

export function frameLinks(frame: FrameFacts): HTMLElement[] {
  const name = `${frame.stream_id}-${frameId(frame)}`;
  const picture = frameUrl(frame, 'annotated', 'jpg');
  const facts = frameUrl(frame, 'frames', 'json');
  return [
    h('span.dim', timeOf(frame.captured_at)),
    h('a', { href: picture, target: '_blank' }, 'Annotated picture'),
    h('a', { href: picture, download: `${name}.jpg` }, 'Download picture'),
    h('a', { href: facts, target: '_blank' }, 'JSON'),
    h('a', { href: facts, download: `${name}.json` }, 'Download JSON'),
  ];
}
