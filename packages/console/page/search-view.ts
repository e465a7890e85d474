import type { FrameFacts, Names, SearchResult } from '../src/api.ts';
import { API, getJson, h, setText } from './dom.ts';
import { dateTime, summary, timeOf } from './format.ts';
import { openFrame, openNamed } from './frame-dialog.ts';
import { frameUrl } from './picture.ts';

const RETRY_MS = 3_000;

/** Frames by what was seen in them. @param asked the search that the address holds. @returns ends the view */
export function searchView(root: HTMLElement, asked: URLSearchParams): () => void {
  const form = searchForm(asked);
  const grid = h('ul', { className: 'grid' });
  const status = h('p', { role: 'status', className: 'dim' });
  const more = h('button', { type: 'button', hidden: true }, 'More');
  root.append(h('h1', {}, 'Search'), form, status, grid, h('p', {}, more));

  const found: FrameFacts[] = [];
  let total: number | undefined;
  const ended = new AbortController();
  const load = async (cursor?: string): Promise<void> => {
    more.disabled = true;
    if (!cursor) setText(status, 'Searching');
    const query = queryOf(asked);
    if (cursor) query.set('cursor', cursor);
    try {
      const result = await getJson<SearchResult>(`${API}/search?${query}`, { signal: ended.signal });
      const start = found.length;
      found.push(...result.frames);
      grid.append(...result.frames.map((frame, i) => thumbnail(frame, () => openFrame(found, start + i))));
      more.hidden = result.cursor === undefined;
      more.onclick = () => load(result.cursor);
      total = result.total ?? total;
      setText(status, statusOf(found.length, result, total));
      // Nothing on this stretch of the archive: on to the next by itself.
      if (result.cursor && result.frames.length === 0) await load(result.cursor);
    } catch (error) {
      if (!ended.signal.aborted) {
        setText(status, `Search failed: ${(error as Error).message}; trying again`);
        setTimeout(() => ended.signal.aborted || load(cursor), RETRY_MS);
      }
    }
    more.disabled = false;
  };
  load();
  const named = asked.get('frame');
  if (named) openNamed(named).catch((error) => setText(status, (error as Error).message));
  return () => {
    ended.abort();
    document.querySelector('dialog')?.close();
  };
}

function statusOf(count: number, { cursor, searched_to, note }: SearchResult, total?: number): string {
  const all = total === undefined || total === count ? '' : ` of ${total.toLocaleString('en')}`;
  const frames = count === 1 && !all ? '1 frame' : `${count}${all} frames`;
  return cursor
    ? `${frames}, back to ${dateTime(searched_to)}`
    : `${frames}, all there are${note ? `: ${note}` : ''}`;
}

function thumbnail(frame: FrameFacts, open: () => void): HTMLElement {
  const picture = h('img', {
    src: frameUrl(frame, 'annotated', 'jpg'),
    loading: 'lazy',
    width: frame.width,
    height: frame.height,
    alt: '',
  });
  const button = h(
    'button',
    { type: 'button', className: 'card' },
    picture,
    h(
      'span',
      { className: 'facts' },
      h('span', { className: 'name' }, frame.stream_id),
      h('span', { className: 'dim' }, timeOf(frame.captured_at)),
    ),
    h('span', { className: 'facts dim' }, summary(frame.detections)),
  );
  button.onclick = open;
  return h('li', {}, button);
}

/** The address keeps local times as the form has them; the server takes epoch ms. */
function queryOf(asked: URLSearchParams): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of ['stream', 'class', 'confidence']) {
    const value = asked.get(name);
    if (value) query.set(name, value);
  }
  for (const name of ['from', 'to']) {
    const time = Date.parse(asked.get(name) ?? '');
    if (!Number.isNaN(time)) query.set(name, String(time));
  }
  return query;
}

function searchForm(asked: URLSearchParams): HTMLFormElement {
  const streams = h('select', { name: 'stream' }, h('option', { value: '' }, 'all'));
  const classes = h('datalist', { id: 'classes' });
  const field = (text: string, input: HTMLElement) => h('label', {}, text, input);
  const input = (name: string, properties: Record<string, string>) =>
    h('input', { name, value: asked.get(name) ?? '', ...properties });
  const className = input('class', { placeholder: 'any', autocomplete: 'off' });
  className.setAttribute('list', 'classes');
  const form = h(
    'form',
    { className: 'filters', role: 'search' },
    field('Stream', streams),
    field('Class', className),
    field(
      'Least confidence',
      input('confidence', { type: 'number', min: '0', max: '1', step: '0.01', placeholder: '0' }),
    ),
    field('From', input('from', { type: 'datetime-local', step: '1' })),
    field('To', input('to', { type: 'datetime-local', step: '1' })),
    h('button', { type: 'submit' }, 'Search'),
    h('span', { className: 'dim' }, 'Without times: the last 24 hours'),
    classes,
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    const entries = [...new FormData(form)].filter(([, value]) => value !== '') as [string, string][];
    const next = `#/search?${new URLSearchParams(entries)}`;
    if (next === location.hash) dispatchEvent(new HashChangeEvent('hashchange'));
    else location.hash = next;
  };
  getJson<Names>(`${API}/names`).then((names) => {
    streams.append(...names.streams.map((value) => h('option', { value }, value)));
    streams.value = asked.get('stream') ?? '';
    classes.append(...names.classes.map((value) => h('option', { value })));
  });
  return form;
}
