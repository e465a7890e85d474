import type { EventsPage, ReviewDraft, StoredEvent } from '../src/api.ts';
import { API, button, getJson, h, insist, repeat, sendJson, setText } from './dom.ts';
import { annotatedUrl, clipElement, clipUrl, sentence } from './events-panel.ts';
import { addressForm, fieldsOf, goTo, queryOf } from './form.ts';
import { timeOf } from './format.ts';
import { openLarge } from './frame-dialog.ts';
import type { ViewInput } from './live.ts';
import { lazyImage, storedImage } from './picture.ts';
import { virtualList } from './virtual-list.ts';

const ROW = 76;
const NEW_EVERY_MS = 5_000;
/** Events of one answer, and most events of an answer while the reader's place is searched. */
const PAGE = 100;
const MAX_EVENTS = 1_000;
const TYPES = [
  ['entered_zone', 'entered a zone'],
  ['left_zone', 'left a zone'],
  ['stayed_longer', 'stayed in a zone for long'],
  ['line_crossed', 'crossed a line'],
  ['count_over', 'more objects than allowed'],
] as const;

/** The reader's place in the list. The history entry keeps it, so that a reload and Back find it again. */
interface ListPosition {
  event: { at: number; event_id: string };
  index: number;
}

/** The events of all streams, to be reviewed. @param params the filters in the address. @returns ends the view */
export function eventsView(root: HTMLElement, { query: params }: ViewInput): () => void {
  const status = h('p.dim', { role: 'status' });
  const fresh = button('', { hidden: true });
  const query = queryOf(params, 'stream', 'class', 'type', 'zone', 'reviewed');
  const ended = new AbortController();
  const { signal } = ended;
  let cursor: string | undefined = '';
  let total = 0;
  let loading = false;
  let waiting: StoredEvent[] = [];
  /** Whether there are more new events than the newest page holds, or than are kept until the reader asks for them. */
  let isGap = false;
  /** The reader's place, until it is found: events are loaded until it is there. */
  let place: ListPosition | undefined = history.state?.place;
  const known = new Map<string, StoredEvent>();
  const list = virtualList<StoredEvent>('Events', ROW, rowOf, () => void more(), keepPlace);
  const { items } = list;
  const keys = h('p.dim', 'Keys: j and k go down and up, Enter opens, x marks as reviewed.');
  root.append(h('h1', 'Events'), eventsForm(params), h('div.bar', status, fresh), list.element, keys);

  async function more(): Promise<void> {
    if (loading || cursor === undefined || signal.aborted) return;
    loading = true;
    const next = new URLSearchParams(query);
    if (cursor) next.set('cursor', cursor);
    if (place) next.set('limit', String(Math.min(MAX_EVENTS, place.index - items.length + PAGE)));
    const tell = ({ message }: Error, more = '') =>
      setText(status, `Events can't be read: ${message}${more}`);
    const ask = () => getJson<EventsPage>(`${API}/events?${next}`, { signal });
    const page = await insist(ask, signal, (error) => tell(error, '; trying again')).catch(tell);
    if (!page) return;
    items.push(...takeUnknown(page.events));
    cursor = page.cursor;
    total = page.total;
    loading = false;
    showStatus();
    list.refresh();
    findPlace();
  }
  /** @returns the events that were not known; from now on they are known */
  function takeUnknown(events: readonly StoredEvent[]): StoredEvent[] {
    const unknown = events.filter(({ event_id }) => !known.has(event_id));
    for (const event of unknown) known.set(event.event_id, event);
    return unknown;
  }
  function showStatus(): void {
    const none =
      items.length === 0
        ? " in that time. They come from zones and lines, which are drawn on a stream's page"
        : '';
    setText(status, `${counted(total)}${none}`);
    fresh.hidden = waiting.length === 0 && !isGap;
    setText(fresh, `Show ${isGap ? 'all new events' : `${waiting.length} new ${eventsOf(waiting.length)}`}`);
  }
  function keepPlace(): void {
    const index = list.first();
    const event = items[index];
    if (!event || place) return;
    // A reader at the top of the list wants to see new events, so no place is kept.
    history.replaceState({ ...history.state, place: index > 0 ? { event, index } : undefined }, '');
  }
  /** Loads events until the reader's place is found. If its event is gone, the nearest one is used. */
  function findPlace(): void {
    if (!place) return;
    const { at, event_id } = place.event;
    const older = items.findIndex((event) => event.event_id === event_id || event.at < at);
    if (older < 0 && cursor !== undefined) return void more();
    place = undefined;
    if (older > 0) list.scrollTo(older);
  }
  /** New events wait until the reader asks for them. Marks of other readers are shown at once. */
  async function lookForNew(): Promise<void> {
    if (loading || params.has('to')) return;
    const page = await getJson<EventsPage>(`${API}/events?${query}`, { signal });
    total = page.total;
    for (const event of page.events) {
      const old = known.get(event.event_id);
      if (!old || old.reviewed === event.reviewed) continue;
      old.reviewed = event.reviewed;
      list.refresh(old);
    }
    // Nothing is missing only if the newest page overlaps with the known events.
    isGap ||=
      waiting.length >= MAX_EVENTS ||
      (items.length > 0 && page.cursor !== undefined && !page.events.some((one) => known.has(one.event_id)));
    // An event may be published after others that happened later.
    const oldest = cursor === undefined ? 0 : (items.at(-1)?.at ?? 0);
    if (isGap) waiting = [];
    else waiting.push(...takeUnknown(page.events.filter(({ at }) => at >= oldest)));
    if (items.length === 0) showNew();
    showStatus();
  }
  function showNew(): void {
    if (isGap) {
      goTo('events', params);
      return;
    }
    items.push(...waiting);
    items.sort((a, b) => b.at - a.at || (a.event_id < b.event_id ? -1 : 1));
    waiting = [];
    list.scrollTo(0);
    showStatus();
  }
  fresh.onclick = () => {
    history.replaceState({ ...history.state, place: undefined }, '');
    showNew();
    list.focus(0);
  };
  function rowOf(event: StoredEvent): HTMLElement {
    const open = h('a.name', { href: addressOf(event) }, sentence(event));
    open.onclick = (click) => {
      click.preventDefault();
      openEvent(items.indexOf(event));
    };
    return h(
      'li',
      { className: event.reviewed ? 'event reviewed' : 'event' },
      lazyImage(event, annotatedUrl(event, event.frames.at(-1) ?? '')),
      h('span.what', open, h('span.dim', `${event.stream_id}, ${event.rule}`)),
      h('span.dim.when', timeOf(event.at)),
      reviewButton(event),
    );
  }
  function reviewButton(event: StoredEvent): HTMLElement {
    const mark = button('', { onclick: () => void review(event, mark) });
    showReviewed(mark, event);
    return mark;
  }
  /** Shows the change at once, and undoes it if it can't be saved. */
  async function review(event: StoredEvent, mark?: HTMLElement): Promise<void> {
    event.reviewed = !event.reviewed;
    const { at, event_id, reviewed } = event;
    if (mark) showReviewed(mark, event);
    list.refresh(event);
    try {
      const draft: ReviewDraft = { events: [{ at, event_id }], reviewed };
      await sendJson('POST', `${API}/events/reviewed`, draft);
    } catch (error) {
      event.reviewed = !reviewed;
      list.refresh(event);
      setText(status, `The mark could not be kept: ${(error as Error).message}`);
    }
  }
  function openEvent(index: number, events: readonly StoredEvent[] = items): void {
    openLarge(index, {
      label: 'Event',
      items: events,
      address: (event) => `event=${event.at}-${event.event_id}`,
      render: (event) => largeOf(event, reviewButton(event)),
      shown: (now) => events === items && list.focus(now),
      key(key, event) {
        if (key === 'x') void review(event);
        return key === 'x';
      },
    });
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
  const named = params.get('event');
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

const eventsOf = (count: number) => (count === 1 ? 'event' : 'events');
const counted = (count: number) => `${count.toLocaleString('en')} ${eventsOf(count)}`;

function showReviewed(button: HTMLElement, { reviewed }: StoredEvent): void {
  button.ariaPressed = String(reviewed);
  setText(button, reviewed ? 'Reviewed' : 'Mark as reviewed');
}

/** Address of an event, without the filters. */
export function addressOf({ at, event_id }: Pick<StoredEvent, 'at' | 'event_id'>): string {
  return `#/events?event=${at}-${event_id}`;
}

function largeOf(event: StoredEvent, review: HTMLElement): Node[] {
  const pictures = event.frames.map((key, i) => ({
    src: annotatedUrl(event, key),
    name: `${event.stream_id}-${event.at}-${i + 1}.jpg`,
  }));
  const clip = clipUrl(event);
  const downloads = [
    { src: clip, name: `${event.stream_id}-${event.at}.${clip.split('.').at(-1)}`, what: 'clip' },
    ...pictures.map((picture, i) => ({ ...picture, what: `picture ${i + 1}` })),
  ];
  const links = downloads.map(({ src, name, what }) =>
    h('a', { href: src, download: name }, `Download ${what}`),
  );
  const stream = h('a', { href: `#/stream/${event.stream_id}` }, event.stream_id);
  const timeline = h('a', { href: timelineOf(event) }, 'Timeline');
  return [
    h('h1', sentence(event)),
    h('p.facts', stream, timeOf(event.at), event.rule),
    storedImage({ className: 'frame', src: pictures.at(-1)?.src ?? '', alt: sentence(event) }),
    h('div.bar', review, clipElement(event), ...links, timeline),
  ];
}

function timelineOf({ stream_id, at }: StoredEvent): string {
  return `#/timeline?stream=${encodeURIComponent(stream_id)}&around=${at}`;
}

function eventsForm(params: URLSearchParams): HTMLFormElement {
  const fields = fieldsOf(params);
  return addressForm(
    'events',
    ...fields.names(),
    fields.select('Kind', 'type', TYPES),
    fields.input('Zone', 'zone', { placeholder: 'any' }),
    fields.select('Reviewed', 'reviewed', [
      ['no', 'not reviewed yet'],
      ['yes', 'reviewed'],
    ]),
    ...fields.range('Filter'),
    h('span.dim', 'Without From and To: the last 24 hours'),
  );
}
