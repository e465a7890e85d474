import type { SceneEvent } from '../src/api.ts';
import { getJson, h } from './dom.ts';
import { dateTime } from './format.ts';

/** What happened in a stream of late, with the frames that prove it. */
export function eventsPanel(streamId: string): { element: HTMLElement; refresh: () => Promise<void> } {
  const list = h('ul', { className: 'events' });
  const empty = h(
    'p',
    { className: 'dim' },
    'Nothing has happened that a rule of the streams file tells of.',
  );
  const element = h('section', { ariaLabel: 'Events' }, h('h2', {}, 'Events'), empty, list);
  let shown = '';
  return {
    element,
    async refresh() {
      const events = await getJson<SceneEvent[]>(`/api/streams/${encodeURIComponent(streamId)}/events`);
      const ids = events.map(({ event_id }) => event_id).join();
      if (ids === shown) return;
      shown = ids;
      empty.hidden = events.length > 0;
      list.replaceChildren(...events.map(eventItem));
    },
  };
}

function eventItem(event: SceneEvent): HTMLElement {
  const frames = event.frames.map((key, i) => {
    const link = h('a', { href: annotatedUrl(event.stream_id, key), target: '_blank' });
    link.append(
      h('img', { src: link.href, loading: 'lazy', alt: `Frame ${i + 1} of ${event.frames.length}` }),
    );
    return link;
  });
  return h(
    'li',
    { className: 'facts' },
    h('span', { className: 'num dim' }, dateTime(event.at)),
    h('span', { className: 'name' }, sentence(event)),
    h('span', { className: 'dim' }, event.rule),
    h('a', { href: clipUrl(event), target: '_blank' }, 'Clip'),
    h('span', { className: 'proof' }, ...frames),
  );
}

/** `person t-1 entered lawn` */
function sentence({ type, class_name, track_id, zone, line, direction, seconds, count }: SceneEvent): string {
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

/** Where the server has the picture of this key, `.../<captured_at>-<frame_number>.jpg`. */
function annotatedUrl(streamId: string, key: string): string {
  return `/api/streams/${encodeURIComponent(streamId)}/annotated/${key.split('/').at(-1)}`;
}

function clipUrl({ stream_id, at }: SceneEvent): string {
  return `/api/streams/${encodeURIComponent(stream_id)}/clips/${at}.webp`;
}
