import { DEADLINE_MS, h, sessionOf, setOutages, setText } from './dom.ts';
import { clock, viewOf } from './format.ts';
import { outagesOf } from './health.ts';
import { LiveFeed, type View } from './live.ts';
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

/** The views by the first part of their address: `#/`, `#/stream/<id>`, `#/search?...`. Each loads its own code. */
const VIEWS = new Map<string, () => Promise<View>>([
  ['', async () => wallView],
  ['stream', async () => (await import('./stream-view.ts')).streamView],
  ['cameras', async () => (await import('./cameras-view.ts')).camerasView],
  ['flow', async () => (await import('./flow-view.ts')).flowView],
  ['search', async () => (await import('./search-view.ts')).searchView],
  ['events', async () => (await import('./events-view.ts')).eventsView],
  ['timeline', async () => (await import('./timeline-view.ts')).timelineView],
  ['failed', async () => (await import('./failed-view.ts')).failedView],
]);
/** Delay before the code of the other views is fetched, milliseconds: the first pictures do not wait for it. */
const REST_MS = 5_000;

async function route(): Promise<void> {
  const [path = '', text = ''] = location.hash.slice(1).split('?');
  const [first, name = '', id = ''] = path.split('/');
  const address = viewOf(location.hash);
  shown = address;
  const [stream, query] = [decoded(id) ?? '', new URLSearchParams(text)];
  const load = first === '' && (name !== 'stream' || stream) ? VIEWS.get(name) : undefined;
  const view = load ? await load().catch(() => unreachable) : nowhere;
  if (address !== shown) return;
  endView?.();
  content.replaceChildren();
  endView = view(content, { live, stream, query });
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
  const all = h('a', { href: '#/' }, 'All streams');
  root.append(h('h1', 'Not found'), h('p', 'There is nothing at this address. ', all));
}

/** A browser may not ask again for code that it could not load. */
function unreachable(root: HTMLElement): undefined {
  root.append(h('h1', 'Not loaded'), h('p', "The console's server did not answer: reload the page."));
}

/** Shows which parts can't be reached, since when, and how many records failed. */
function showHealth(): void {
  const { health, lostSince } = live;
  const outages: string[] = [];
  if (lostSince) outages.push(`The console's server is not answering since ${clock(lostSince)}.`);
  else if (health) outages.push(...outagesOf(health, live.now()));
  setOutages(outages);
  const lines = byId('outages');
  const text = outages.join('\n');
  if (lines.dataset.text !== text) {
    lines.dataset.text = text;
    lines.replaceChildren(...outages.map((outage) => h('p', outage)));
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
sessionOf().then(({ login }) => {
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
setTimeout(() => {
  for (const load of VIEWS.values()) load().catch(() => {});
}, REST_MS);
