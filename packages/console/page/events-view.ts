import type { EventsPage, ReviewDraft, StoredEvent } from '../src/api.ts';
import { API, getJson, h, repeat, sendJson, setText } from './dom.ts';
import { annotatedUrl, clipElement, clipUrl, sentence } from './events-panel.ts';
import { addressForm, fieldsOf, queryOf } from './form.ts';
import { timeOf } from './format.ts';
import { openLarge } from './frame-dialog.ts';
import { virtualList } from './virtual-list.ts';

const ROW = 76;
const NEW_EVERY_MS = 5_000;
const TYPES = [
  ['entered_zone', 'entered a zone'],
  ['left_zone', 'left a zone'],
  ['stayed_longer', 'stayed longer'],
  ['line_crossed', 'crossed a line'],
  ['count_over', 'count over'],
] as const;

/** Events of all streams, to be worked through. @param asked the filters that the address holds. @returns ends the view */
export function eventsView(root: HTMLElement, asked: URLSearchParams): () => void {
  const status = h('p', { role: 'status', className: 'dim' });
  const fresh = h('button', { type: 'button', hidden: true });
  const query = queryOf(asked, 'stream', 'class', 'type', 'zone', 'reviewed');
  const ended = new AbortController();
  const { signal } = ended;
  let cursor: string | undefined = '';
  let total = 0;
  let loading = false;
  let waiting: StoredEvent[] = [];
  const known = new Map<string, StoredEvent>();
  const list = virtualList<StoredEvent>('Events', ROW, rowOf, () => void more());
  const { items } = list;
  root.append(
    h('h1', {}, 'Events'),
    eventsForm(asked),
    h('div', { className: 'bar' }, status, fresh),
    list.element,
    h('p', { className: 'dim' }, 'Keys: j and k go down and up, Enter opens, x marks as reviewed.'),
  );

  async function more(): Promise<void> {
    if (loading || cursor === undefined || signal.aborted) return;
    loading = true;
    try {
      const next = new URLSearchParams(query);
      if (cursor) next.set('cursor', cursor);
      const page = await getJson<EventsPage>(`${API}/events?${next}`, { signal });
      take(page.events, (events) => items.push(...events));
      cursor = page.cursor;
      total = page.total;
      loading = false;
      tell();
      list.refresh();
    } catch (error) {
      if (signal.aborted) return;
      setText(status, `Events can't be read: ${(error as Error).message}; trying again`);
      setTimeout(() => {
        loading = false;
        void more();
      }, NEW_EVERY_MS);
    }
  }
  function take(events: readonly StoredEvent[], put: (events: StoredEvent[]) => void): void {
    const unknown = events.filter(({ event_id }) => !known.has(event_id));
    for (const event of unknown) known.set(event.event_id, event);
    put(unknown);
  }
  function tell(): void {
    const none = items.length === 0 ? ': nothing has happened in that time that a rule tells of' : '';
    setText(status, `${total.toLocaleString('en')} ${total === 1 ? 'event' : 'events'}${none}`);
    fresh.hidden = waiting.length === 0;
    setText(fresh, `Show ${waiting.length} new`);
  }
  /** What came since waits until it is asked for; what others have marked is shown. */
  async function lookForNew(): Promise<void> {
    if (loading || asked.has('to')) return;
    const page = await getJson<EventsPage>(`${API}/events?${query}`, { signal });
    total = page.total;
    for (const event of page.events) {
      const old = known.get(event.event_id);
      if (!old || old.reviewed === event.reviewed) continue;
      old.reviewed = event.reviewed;
      list.refresh(old);
    }
    const newest = items[0]?.at ?? 0;
    take(
      page.events.filter(({ at }) => at >= newest),
      (events) => {
        waiting = [...events, ...waiting];
      },
    );
    if (items.length === 0) showNew();
    tell();
  }
  function showNew(): void {
    list.prepend(waiting);
    waiting = [];
    list.top();
    tell();
  }
  fresh.onclick = () => {
    showNew();
    list.focus(0);
  };
  function rowOf(event: StoredEvent): HTMLElement {
    const open = h('a', { href: addressOf(event), className: 'name' }, sentence(event));
    open.onclick = (click) => {
      click.preventDefault();
      openEvent(items.indexOf(event));
    };
    return h(
      'li',
      { className: event.reviewed ? 'event reviewed' : 'event' },
      h('img', { src: annotatedUrl(event, event.frames.at(-1) ?? ''), loading: 'lazy', alt: '' }),
      h(
        'span',
        { className: 'what' },
        open,
        h('span', { className: 'dim' }, `${event.stream_id}, ${event.rule}`),
      ),
      h('span', { className: 'dim when' }, timeOf(event.at)),
      reviewButton(event),
    );
  }
  function reviewButton(event: StoredEvent): HTMLElement {
    const button = h('button', { type: 'button', ariaPressed: String(event.reviewed) }, 'Reviewed');
    button.onclick = () => void review(event, button);
    return button;
  }
  /** Shown at once, and taken back if it could not be kept. */
  async function review(event: StoredEvent, button?: HTMLElement): Promise<void> {
    event.reviewed = !event.reviewed;
    const { at, event_id, reviewed } = event;
    if (button) button.ariaPressed = String(reviewed);
    list.refresh(event);
    try {
      const draft: ReviewDraft = { events: [{ at, event_id }], reviewed };
      await sendJson('POST', `${API}/events/reviewed`, draft);
    } catch (error) {
      event.reviewed = !reviewed;
      list.refresh(event);
      setText(status, `Not marked: ${(error as Error).message}`);
    }
  }
  function openEvent(index: number, events: readonly StoredEvent[] = items): void {
    openLarge(
      {
        label: 'Event',
        items: events,
        address: (event) => `event=${event.at}-${event.event_id}`,
        render: (event) => largeOf(event, reviewButton(event)),
        shown: (now) => events === items && list.focus(now),
        key(key, event) {
          if (key === 'x') void review(event);
          return key === 'x';
        },
      },
      index,
    );
  }
  function takeKey(event: KeyboardEvent): void {
    const isTyping = (event.target as Element).closest('input, select, textarea, dialog, video');
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = list.focused();
    if (event.key === 'j') list.focus(Math.min(at + 1, items.length - 1));
    else if (event.key === 'k') list.focus(Math.max(at - 1, 0));
    else if (event.key === 'x' && items[at]) void review(items[at]);
  }

  void more();
  const stop = repeat(lookForNew, NEW_EVERY_MS);
  document.addEventListener('keydown', takeKey);
  const named = asked.get('event');
  if (named)
    getJson<StoredEvent>(`${API}/events/${encodeURIComponent(named)}`, { signal }).then(
      (event) => openEvent(0, [event]),
      (error) => setText(status, error.message),
    );
  return () => {
    ended.abort();
    stop();
    document.removeEventListener('keydown', takeKey);
    document.querySelector('dialog')?.close();
  };
}

/** An event's own address, whatever the filters. */
export function addressOf({ at, event_id }: Pick<StoredEvent, 'at' | 'event_id'>): string {
  return `#/events?event=${at}-${event_id}`;
}

function largeOf(event: StoredEvent, review: HTMLElement): Node[] {
  const pictures = event.frames.map((key, i) => ({
    src: annotatedUrl(event, key),
    name: `${event.stream_id}-${event.at}-${i + 1}.jpg`,
  }));
  const last = pictures.at(-1);
  const clip = clipUrl(event);
  return [
    h('h1', {}, sentence(event)),
    h(
      'p',
      { className: 'facts' },
      h('a', { href: `#/stream/${event.stream_id}` }, event.stream_id),
      timeOf(event.at),
      event.rule,
    ),
    h('img', { className: 'frame', src: last?.src ?? '', alt: sentence(event) }),
    h(
      'div',
      { className: 'bar' },
      review,
      clipElement(event),
      h(
        'a',
        { href: clip, download: `${event.stream_id}-${event.at}.${clip.split('.').at(-1)}` },
        'Download clip',
      ),
      ...pictures.map(({ src, name }, i) =>
        h('a', { href: src, download: name }, `Download picture ${i + 1}`),
      ),
      h('a', { href: timelineOf(event) }, 'Timeline'),
    ),
  ];
}

function timelineOf({ stream_id, at }: StoredEvent): string {
  return `#/timeline?stream=${encodeURIComponent(stream_id)}&around=${at}`;
}

function eventsForm(asked: URLSearchParams): HTMLFormElement {
  const fields = fieldsOf(asked);
  return addressForm(
    'events',
    ...fields.names(),
    fields.select('What', 'type', TYPES),
    fields.input('Zone', 'zone', { placeholder: 'any' }),
    fields.select('Reviewed', 'reviewed', [
      ['no', 'not yet'],
      ['yes', 'yes'],
    ]),
    fields.from(),
    fields.to(),
    h('button', { type: 'submit' }, 'Filter'),
    h('span', { className: 'dim' }, 'Without times: the last 24 hours'),
  );
}
