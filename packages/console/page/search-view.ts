import type { ExportSize, FrameFacts, Histogram, SearchResult } from '../src/api.ts';
import { drawTimeline, sumOf } from './chart.ts';
import { API, button, getJson, h, insist, selectOf, setText } from './dom.ts';
import { addressForm, fieldsOf, goTo, queryOf } from './form.ts';
import { dateTime, summary, timeOf } from './format.ts';
import { openFrame, openNamed } from './frame-dialog.ts';
import type { ViewInput } from './live.ts';
import { frameUrl, storedImage } from './picture.ts';
import { exactTime } from './times.ts';

/** Searches frames by their detections. @param params the search in the address. @returns ends the view */
export function searchView(root: HTMLElement, { query: params }: ViewInput): () => void {
  const form = searchForm(params);
  const grid = h('ul.grid');
  const status = h('p.dim', { role: 'status' });
  const more = button('More', { hidden: true });
  const chart = h('div', { role: 'img', ariaLabel: 'Frames over time' });
  const query = queryOf(params, 'stream', 'class', 'confidence', 'zone', 'track', 'per');
  root.append(h('h1', 'Search'), form, status, chart, exportBar(query), grid, h('p', more));

  const found: FrameFacts[] = [];
  let total: number | undefined;
  const ended = new AbortController();
  const { signal } = ended;
  const tell = ({ message }: Error, more = '') =>
    signal.aborted || setText(status, `Search failed: ${message}${more}`);
  const load = async (cursor?: string): Promise<void> => {
    more.disabled = true;
    if (!cursor) setText(status, 'Searching');
    const page = new URLSearchParams(query);
    if (cursor) page.set('cursor', cursor);
    const ask = () => getJson<SearchResult>(`${API}/search?${page}`, { signal });
    const result = await insist(ask, signal, (error) => tell(error, '; trying again'));
    const start = found.length;
    found.push(...result.frames);
    grid.append(...result.frames.map((frame, i) => thumbnail(frame, () => openFrame(found, start + i))));
    more.hidden = result.cursor === undefined;
    more.onclick = () => load(result.cursor).catch(tell);
    total = result.total ?? total;
    setText(status, statusOf(found.length, result, total));
    more.disabled = false;
    // This part of the archive has no match: go on with the next part.
    if (result.cursor && result.frames.length === 0) await load(result.cursor);
  };
  const draw = () => drawHistogram(chart, params, query, signal).catch(() => chart.replaceChildren());
  load().then(draw, tell);
  const named = params.get('frame');
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
  const picture = storedImage({
    src: frameUrl(frame, 'annotated', 'jpg'),
    loading: 'lazy',
    width: frame.width,
    height: frame.height,
    alt: '',
  });
  const card = h(
    'button.card',
    { type: 'button', onclick: open },
    picture,
    h('span.facts', h('span.name', frame.stream_id), h('span.dim', timeOf(frame.captured_at))),
    h('span.facts.dim', summary(frame.detections)),
  );
  return h('li', card);
}

function searchForm(params: URLSearchParams): HTMLFormElement {
  const fields = fieldsOf(params);
  const share = { type: 'number', min: '0', max: '1', step: '0.01', placeholder: '0' };
  return addressForm(
    'search',
    ...fields.names(),
    fields.input('Minimum confidence', 'confidence', share),
    fields.input('Zone', 'zone', { placeholder: 'any' }),
    fields.input('Track', 'track', { placeholder: 'any' }),
    fields.check('Only the best frame of each track', 'per', 'track'),
    ...fields.range('Search'),
    h('span.dim', 'Without From and To: the last 24 hours'),
  );
}

/** The number of frames over time. A range that is selected in it becomes the range of the search. */
async function drawHistogram(
  element: HTMLElement,
  params: URLSearchParams,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<void> {
  const path = `${API}/search/histogram?${query}`;
  const { from, bin_ms, counts } = await insist(() => getJson<Histogram>(path, { signal }, 20_000), signal);
  const timeline = { from, bin_ms, bins: counts.length, classes: { frames: counts } };
  const select = (start: number, end: number) => {
    const next = new URLSearchParams(params);
    next.set('from', exactTime(start));
    next.set('to', exactTime(end));
    goTo('search', next);
  };
  drawTimeline(element, timeline, new Map(), { select });
  element.ariaLabel = `${sumOf(counts)} frames over time. Select a range to narrow the search.`;
}

const FORMATS = [
  ['ndjson', 'NDJSON'],
  ['csv', 'CSV'],
  ['parquet', 'Parquet'],
  ['coco', 'COCO, JSON'],
  ['coco-tar', 'COCO with pictures, TAR'],
  ['yolo-tar', 'YOLO with pictures, TAR'],
] as const;

/** A download of the whole result. Its size is shown first. */
function exportBar(query: URLSearchParams): HTMLElement {
  const format = selectOf(FORMATS, { ariaLabel: 'Format of the export' });
  const link = h('a', { download: '' }, 'Download');
  const size = h('span.dim');
  format.onchange = async () => {
    const params = new URLSearchParams(query);
    params.set('format', format.value);
    link.href = `${API}/search/export?${params}`;
    setText(size, '');
    if (!format.value.endsWith('-tar')) return;
    try {
      const { frames, bytes } = await getJson<ExportSize>(`${API}/search/size?${query}`, {}, 20_000);
      const megabytes = Math.ceil(bytes / 1e6).toLocaleString('en');
      setText(size, `${frames.toLocaleString('en')} pictures with boxes drawn, about ${megabytes} MB`);
    } catch (error) {
      setText(size, `The size is not known: ${(error as Error).message}`);
    }
  };
  format.dispatchEvent(new Event('change'));
  return h('div.bar', format, link, size);
}
