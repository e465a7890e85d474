import type { SceneEvent } from '../src/api.ts';
import { button, getJson, h, streamPath } from './dom.ts';
import { timeOf } from './format.ts';
import { storedImage } from './picture.ts';

export function eventsPanel(streamId: string): { element: HTMLElement; refresh: () => Promise<void> } {
  const list = h('ul.events');
  const none = 'Nothing has happened yet. Events come from zones and lines, which are drawn on the picture.';
  const empty = h('p.dim', none);
  const element = h('section', { ariaLabel: 'Events' }, h('h2', 'Events'), empty, list);
  const shown = new Map<string, HTMLElement>();
  return {
    element,
    async refresh() {
      const events = await getJson<SceneEvent[]>(`${streamPath(streamId)}/events`);
      empty.hidden = events.length > 0;
      const ids = new Set(events.map(({ event_id }) => event_id));
      for (const [id, item] of shown) {
        if (ids.has(id)) continue;
        item.remove();
        shown.delete(id);
      }
      // The newest events come first. Existing elements stay in place, since moving one would stop a playing clip.
      for (const event of events.toReversed()) {
        if (shown.has(event.event_id)) continue;
        const item = eventItem(event);
        shown.set(event.event_id, item);
        list.prepend(item);
      }
    },
  };
}

export function eventItem(event: SceneEvent): HTMLElement {
  const frames = event.frames.map((key, i) => {
    const src = annotatedUrl(event, key);
    const alt = `Frame ${i + 1} of ${event.frames.length}`;
    return h('a', { href: src, target: '_blank' }, storedImage({ src, loading: 'lazy', alt }));
  });
  const [when, what] = [h('span.dim', timeOf(event.at)), h('span.name', sentence(event))];
  const rule = h('span.dim', event.rule);
  return h('li.facts', when, what, rule, clipElement(event), h('span.proof', ...frames));
}

/** Plays the stored clip here. Without one, it links to a clip that is made on request from that time's pictures. */
export function clipElement(event: SceneEvent): HTMLElement {
  if (event.clip_key === undefined) return h('a', { href: madeClipUrl(event), target: '_blank' }, 'Clip');
  const play = button('Play clip');
  play.onclick = () => {
    const name = `Clip: ${sentence(event)}`;
    const properties = { className: 'clip', src: clipUrl(event), controls: true, muted: true };
    const video = h('video', { ...properties, autoplay: true, ariaLabel: name });
    video.onerror = () =>
      video.replaceWith(storedImage({ className: 'clip', src: madeClipUrl(event), alt: name }));
    play.replaceWith(video);
  };
  return play;
}

/** `person t-1 entered lawn` */
export function sentence(event: SceneEvent): string {
  const { type, class_name, track_id, zone, line, direction, seconds, count } = event;
  const who = `${class_name ?? 'something'} ${track_id ?? ''}`.trim();
  switch (type) {
    case 'entered_zone':
      return `${who} entered ${zone}`;
    case 'left_zone':
      return `${who} left ${zone}`;
    case 'stayed_longer':
      return `${who} has been in ${zone} for ${seconds?.toFixed(0)} s`;
    case 'line_crossed':
      return `${who} crossed ${line} to the ${direction}`;
    case 'count_over':
      return `${count} at once ${zone === undefined ? 'in the picture' : `in ${zone}`}`;
  }
}

/** Address of the picture with this key, `.../<captured_at>-<frame_number>.jpg`. */
export function annotatedUrl({ stream_id }: SceneEvent, key: string): string {
  return `${streamPath(stream_id)}/annotated/${key.split('/').at(-1)}`;
}

function madeClipUrl({ stream_id, at }: SceneEvent): string {
  return `${streamPath(stream_id)}/clips/${at}.webp`;
}

/** Address of the event's stored clip, otherwise of one that is made on request. */
export function clipUrl(event: SceneEvent): string {
  if (event.clip_key === undefined) return madeClipUrl(event);
  return `${streamPath(event.stream_id)}/clips/${event.at}-${event.event_id}.mp4`;
}
