import type { Session } from '../src/api.ts';
import { camerasView } from './cameras-view.ts';
import { API, DEADLINE_MS, getJson, h, noteOutages, setText } from './dom.ts';
import { eventsView } from './events-view.ts';
import { failedView } from './failed-view.ts';
import { flowView } from './flow-view.ts';
import { clock } from './format.ts';
import { viewOf } from './frame-dialog.ts';
import { outagesOf } from './health.ts';
import { LiveFeed } from './live.ts';
import { searchView } from './search-view.ts';
import { streamView } from './stream-view.ts';
import { timelineView } from './timeline-view.ts';
import { wallView } from './wall-view.ts';

const live = new LiveFeed();
const content = byId('content');
let endView: (() => void) | undefined;
/** Address of the current view. */
let shown = '';

function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/** Shows the view that the address names: `#/`, `#/stream/<id>`, `#/cameras`, `#/flow`, `#/search?...`,
 * `#/events?...`, `#/timeline?...`, `#/failed`. */
function route(): void {
  const [path = '', query = ''] = location.hash.slice(1).split('?');
  const [, name = '', id = ''] = path.split('/');
  shown = viewOf(location.hash);
  endView?.();
  content.replaceChildren();
  const stream = name === 'stream' ? decoded(id) : undefined;
  if (stream) endView = streamView(content, live, stream);
  else if (name === 'cameras') endView = camerasView(content, live);
  else if (name === 'flow') endView = flowView(content, live);
  else if (name === 'search') endView = searchView(content, new URLSearchParams(query));
  else if (name === 'events') endView = eventsView(content, new URLSearchParams(query));
  else if (name === 'timeline') endView = timelineView(content, new URLSearchParams(query));
  else if (name === 'failed') endView = failedView(content, new URLSearchParams(query));
  else if (path === '' || path === '/') endView = wallView(content, live);
  else endView = nowhere(content);
  document.title = `${content.querySelector('h1')?.textContent ?? ''} - Video pipeline`;
  for (const link of document.querySelectorAll('nav a')) {
    const isCurrent = link.getAttribute('href') === `#/${name}`;
    if (isCurrent) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

/** @returns `undefined` for a text that is not valid percent-encoding, such as `%` */
function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

function nowhere(root: HTMLElement): undefined {
  root.append(
    h('h1', {}, 'Not found'),
    h('p', {}, 'There is nothing at this address. ', h('a', { href: '#/' }, 'All streams')),
  );
}

/** Shows which parts can't be reached, since when, and how many records failed. */
function showHealth(): void {
  const { health, lostSince } = live;
  const outages: string[] = [];
  if (lostSince) outages.push(`The console's server is not answering since ${clock(lostSince)}.`);
  else if (health) outages.push(...outagesOf(health, live.now()));
  noteOutages(outages);
  const lines = byId('outages');
  const text = outages.join('\n');
  if (lines.dataset.text !== text) {
    lines.dataset.text = text;
    lines.replaceChildren(...outages.map((outage) => h('p', {}, outage)));
  }
  const failed = byId('failed-count');
  failed.hidden = !health?.failed;
  setText(failed, String(health?.failed ?? 0));
}

const THEMES = ['auto', 'light', 'dark'];

function setTheme(theme: string): void {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem('theme', theme);
  setText(byId('theme'), `Theme: ${theme}`);
  byId('theme').ariaLabel = `Theme: ${theme}`;
}

byId('theme').onclick = () => {
  const now = document.documentElement.dataset.theme ?? 'auto';
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] ?? 'auto');
};
setTheme(localStorage.getItem('theme') ?? 'auto');
byId('logout').onclick = async () => {
  await fetch('logout', { method: 'POST', redirect: 'manual', signal: AbortSignal.timeout(DEADLINE_MS) });
  location.reload();
};
getJson<Session>(`${API}/session`).then(({ login }) => {
  byId('logout').hidden = !login;
}, console.warn);
live.addEventListener('health', showHealth);
addEventListener('hashchange', ({ isTrusted }) => {
  // A frame that is shown large belongs to the view behind it. But the search form repeats the same view on purpose.
  if (isTrusted && viewOf(location.hash) === shown) return;
  // The skip link's target is not a view.
  if (location.hash === '#content') {
    content.focus();
    return;
  }
  route();
  content.focus({ preventScroll: true });
  scrollTo(0, 0);
});
route();
