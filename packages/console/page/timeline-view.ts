import type { Gap, History } from '../src/api.ts';
import { drawTimeline, showTotals, sumOf } from './chart.ts';
import { API, button, getJson, h, insist, numbers, rowOf, setText, tableOf } from './dom.ts';
import { sentence } from './events-panel.ts';
import { addressOf } from './events-view.ts';
import { addressForm, fieldsOf, goTo, queryOf } from './form.ts';
import { byName, duration, timeOf } from './format.ts';
import type { ViewInput } from './live.ts';
import { preview as previewOf } from './preview.ts';
import { dayOf, exactTime } from './times.ts';

const AROUND_MS = 600_000;
const MIN_MS = 10_000;

/** A day, or any time range, of one stream or of all. @param params the values in the address. @returns ends the view */
export function timelineView(root: HTMLElement, { query: params }: ViewInput): () => void {
  const { from, to } = rangeOf(params);
  const streams = params.getAll('stream');
  const ended = new AbortController();
  const status = h('p.dim', { role: 'status' }, 'Reading');
  const chart = h('div', { role: 'img', ariaLabel: 'Detections over time' });
  const legend = h('div.bar.num');
  const rest = h('div');
  const preview = previewOf(streams, { from, to }, ended.signal);
  const go = (start: number, end: number) => {
    const next = new URLSearchParams(streams.map((stream) => ['stream', stream]));
    next.set('from', exactTime(Math.max(0, start)));
    next.set('to', exactTime(Math.max(end, start + MIN_MS)));
    goTo('timeline', next);
  };
  const span = to - from;
  const middle = Math.min((from + to) / 2, Date.now());
  const day = dayOf(from);
  const moves = [
    ['Earlier', 'ArrowLeft', () => go(from - span / 2, to - span / 2)],
    ['Later', 'ArrowRight', () => go(from + span / 2, to + span / 2)],
    ['Zoom in', '+', () => go(middle - span / 4, middle + span / 4)],
    ['Zoom out', '-', () => go(from - span / 2, to + span / 2)],
    ['Whole day', '0', () => go(day.from, day.to)],
  ] as const;
  const buttons = moves.map(([text, key, move]) => button(text, { title: `Key ${key}`, onclick: move }));
  const title = h('h1', `Timeline of ${streams.join(', ') || 'all streams'}`);
  const charted = h('div.charted', h('div', chart, preview.playhead, legend), preview.element);
  root.append(title, timelineForm(params, from, to), h('div.bar', ...buttons), status, charted, rest);
  const load = async () => {
    const query = queryOf(params, 'stream');
    query.set('from', String(from));
    query.set('to', String(to));
    const { signal } = ended;
    const ask = () => getJson<History>(`${API}/history?${query}`, { signal }, 25_000);
    const past = await insist(ask, signal, (error) => tell(error, '; trying again'));
    const names = Object.keys(past.classes).sort();
    const ids = new Map(names.map((name, id) => [name, id]));
    drawTimeline(chart, past, ids, { select: go, hover: preview.show, pick: preview.play });
    chart.ariaLabel = `Detections: ${showTotals(legend, past.classes, ids)}`;
    const frames = sumOf(Object.values(past.stored).flat());
    const open = past.complete ? '' : '; not all of this time has been read yet, reload to see the rest';
    const events = past.total_events.toLocaleString('en');
    setText(status, `${frames.toLocaleString('en')} frames, ${events} events${open}`);
    if (Number(params.get('around')) > 0) preview.show(Number(params.get('around')));
    rest.replaceChildren(...stripsOf(past, from, to), ...gapsOf(past.gaps), ...eventsOf(past));
  };
  const tell = ({ message }: Error, more = '') =>
    setText(status, `The timeline can't be read: ${message}${more}`);
  load().catch((error) => ended.signal.aborted || tell(error));
  const takeKey = (event: KeyboardEvent) => {
    if ((event.target as Element).closest('input, select') || event.ctrlKey || event.metaKey || event.altKey)
      return;
    moves.find(([, key]) => key === event.key)?.[2]();
  };
  document.addEventListener('keydown', takeKey);
  return () => {
    ended.abort();
    document.removeEventListener('keydown', takeKey);
  };
}

/** The time range in the address: a range, the time around a moment, or today. */
function rangeOf(params: URLSearchParams): { from: number; to: number } {
  const around = Number(params.get('around'));
  if (around > 0) return { from: around - AROUND_MS, to: around + AROUND_MS };
  const from = Date.parse(params.get('from') ?? '') || dayOf(Date.now()).from;
  const to = Date.parse(params.get('to') ?? '') || dayOf(from).to;
  return { from, to: Math.max(to, from + MIN_MS) };
}

function timelineForm(params: URLSearchParams, from: number, to: number): HTMLFormElement {
  const shown = new URLSearchParams(params);
  shown.set('from', exactTime(from));
  shown.set('to', exactTime(to));
  const fields = fieldsOf(shown);
  const [stream = '', , ...lists] = fields.names();
  return addressForm('timeline', stream, ...lists, ...fields.range('Show'));
}

/** A strip for each stream. It shows where frames are stored, where fewer than usual, and where none. */
function stripsOf({ stored, bins, bin_ms }: History, from: number, to: number): HTMLElement[] {
  const names = Object.keys(stored).sort(byName);
  if (names.length === 0) return [h('p', 'No frames are stored of that time.')];
  const rows = names.map((name) => {
    const counts = stored[name] ?? [];
    const some = counts.filter((count) => count > 0).sort((a, b) => a - b);
    const usual = some[Math.floor(some.length / 2)] ?? 0;
    const strip = h('canvas.strip', { width: bins, height: 1, role: 'img' });
    const context = strip.getContext('2d');
    for (const [bin, count] of counts.entries()) {
      if (!context || count === 0) continue;
      context.fillStyle = count * 2 < usual ? '#c98a1b' : '#3d9a5b';
      context.fillRect(bin, 0, 1, 1);
    }
    strip.ariaLabel = `${sumOf(counts)} frames in ${duration(some.length * bin_ms)} of ${duration(to - from)}`;
    const query = new URLSearchParams({ stream: name, from: exactTime(from), to: exactTime(to) });
    const row = h('th', { scope: 'row' }, h('a', { href: `#/timeline?${query}` }, name));
    return rowOf(row, strip, numbers(sumOf(counts).toLocaleString('en')));
  });
  const { table, body } = tableOf(['Stream', 'Over time', 'Frames'], { className: 'strips' });
  body.append(...rows);
  const colours =
    'Green: as many frames as usual. Amber: less than half of that, because frames were thinned for example. Empty: none.';
  return [h('h2', 'Stored frames'), h('p.dim', colours), table];
}

/** Why no frame of a time is stored, as far as the frames before and after it show. */
function reasonOf({ missing, restarted }: Gap): string {
  if (restarted) return 'ingest was started again';
  return missing > 0
    ? `${missing.toLocaleString('en')} frames were captured and not stored: they failed or were dropped`
    : 'the camera sent nothing';
}

function gapsOf(gaps: readonly Gap[]): HTMLElement[] {
  if (gaps.length === 0) return [];
  const rows = gaps.map((gap) =>
    rowOf(timeOf(gap.from), numbers(duration(gap.to - gap.from)), reasonOf(gap)),
  );
  const { table, body } = tableOf(['From', 'How long', 'Why']);
  body.append(...rows);
  return [h('h2', 'Times without frames'), table];
}

function eventsOf({ events, total_events }: History): HTMLElement[] {
  if (events.length === 0) return [];
  const rest = total_events > events.length ? ` (the newest ${events.length} of ${total_events})` : '';
  const items = events.map((event) =>
    h(
      'li.facts',
      timeOf(event.at),
      h('a', { href: addressOf(event) }, sentence(event)),
      h('span.dim', event.stream_id),
    ),
  );
  return [h('h2', `Events${rest}`), h('ul.events', ...items)];
}
