import type { FrameFacts, LiveFrame } from '../src/api.ts';
import { SHOW_ALL } from './boxes.ts';
import { getJson, h, setText, streamPath } from './dom.ts';
import { byName, dateTime, duration, rate, summary } from './format.ts';
import { type LiveFeed, streamState, THINNED, type ViewInput } from './live.ts';
import { frameUrl, onMissing, pictureOn } from './picture.ts';

/** A stored picture is searched after this time, ms: by then, a stream that sends has shown a live picture. */
const LIVE_WITHIN_MS = 3_000;
/** After a fault of the server or of S3, the stored picture is requested again after this time, milliseconds. */
const RETRY_MS = 10_000;

type Tile = ReturnType<typeof createTile>;

/** All streams, side by side. @returns ends the view */
export function wallView(root: HTMLElement, { live }: ViewInput): () => void {
  const grid = h('ul.grid');
  const empty = h('p.empty', 'No stream yet: waiting for the first frame with detections.');
  const forgotten = h('p.dim', { hidden: true });
  root.append(h('h1', 'Live'), tileSize(grid), empty, grid, forgotten);
  const tiles = new Map<string, Tile>();
  const onScreen = new Set<Element>();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) onScreen.add(target);
      else onScreen.delete(target);
    }
  });

  const setTiles = () => {
    const ids = new Set([...live.streams.keys(), ...(live.statuses?.keys() ?? [])]);
    for (const id of ids) {
      if (tiles.has(id)) continue;
      const tile = createTile(id, live.streams.get(id)?.newest);
      tiles.set(id, tile);
      observer.observe(tile.item);
      const after = [...tiles].filter(([other]) => byName(other, id) > 0).sort(([a], [b]) => byName(a, b))[0];
      grid.insertBefore(tile.item, after?.[1].item ?? null);
    }
    for (const [id, tile] of tiles) {
      if (ids.has(id)) continue;
      observer.unobserve(tile.item);
      tile.item.remove();
      tiles.delete(id);
    }
    empty.hidden = tiles.size > 0;
    update();
  };
  const play = () => {
    for (const [streamId, tile] of tiles) {
      const due = onScreen.has(tile.item) && live.streams.get(streamId)?.playout.due(Date.now());
      if (due) tile.picture.show(due);
    }
    frameRequest = requestAnimationFrame(play);
  };
  const update = () => {
    for (const [streamId, tile] of tiles) updateTile(tile, live, streamId);
    forgotten.hidden = !live.health?.forgotten;
    const times = live.health?.forgotten ?? 0;
    setText(forgotten, `Streams that are not in the list of streams were left out ${times} times.`);
  };
  setTiles();
  const ended = new AbortController();
  for (const event of ['frames', 'streams']) live.addEventListener(event, setTiles, ended);
  let frameRequest = requestAnimationFrame(play);
  const timer = setInterval(update, 500);
  return () => {
    ended.abort();
    cancelAnimationFrame(frameRequest);
    clearInterval(timer);
    observer.disconnect();
  };
}

/** Minimum width of a tile. The browser remembers it. */
function tileSize(grid: HTMLElement): HTMLElement {
  const input = h('input.num', { type: 'number', min: '120', max: '3000', step: '20' });
  const set = () => {
    if (input.value === '' || !input.reportValidity()) return;
    localStorage.setItem('tile', input.value);
    grid.style.setProperty('--tile', `${input.value}px`);
  };
  input.value = localStorage.getItem('tile') ?? '300';
  input.onchange = set;
  set();
  return h('label.bar.dim', 'Width of a tile, pixels ', input);
}

function createTile(streamId: string, frame: LiveFrame | undefined) {
  const canvas = h('canvas', { role: 'img', width: 320, height: 180, ariaLabel: streamId });
  /** The last stored picture, while there is no live one. */
  const stored = h('img', { alt: '', hidden: true });
  const name = h('span.name', streamId);
  const state = h('span.state');
  const fps = h('span.num');
  const age = h('span.num.dim');
  const seen = h('span.dim.seen');
  const link = h('a.card', { href: `#/stream/${streamId}` }, canvas, stored);
  link.append(h('div.facts', name, state, fps), h('div.facts', seen, age));
  const picture = pictureOn(canvas, () => SHOW_ALL, true);
  const tile = { item: h('li', link), picture, stored, name, state, fps, age, seen };
  if (frame) tile.picture.show(frame);
  else setTimeout(() => showStored(tile, streamId), LIVE_WITHIN_MS);
  return tile;
}

/** Shows the last stored frame of a stream that does not send now. */
async function showStored(tile: Tile, streamId: string): Promise<void> {
  const { item, picture, stored, age } = tile;
  if (picture.frame() || !item.isConnected) return;
  const tryAgain = (status: unknown) => status !== 404 && setTimeout(showStored, RETRY_MS, tile, streamId);
  try {
    const frame = await getJson<FrameFacts>(`${streamPath(streamId)}/last`);
    if (picture.frame()) return;
    const when = dateTime(frame.captured_at);
    onMissing(stored, (reason, status) => {
      stored.hidden = true;
      picture.canvas.hidden = false;
      setText(age, `last frame ${when}. ${reason}`);
      tryAgain(status);
    });
    stored.src = frameUrl(frame, 'annotated', 'jpg');
    stored.alt = `The last picture of ${streamId}`;
    stored.hidden = false;
    picture.canvas.hidden = true;
    setText(age, `last picture ${when}`);
  } catch (error) {
    tryAgain((error as Error).cause);
  }
}

function updateTile(tile: Tile, live: LiveFeed, streamId: string): void {
  const status = live.statuses?.get(streamId);
  const newest = live.streams.get(streamId)?.newest;
  const now = live.now();
  const frame = tile.picture.frame();
  const { state, why } = streamState(status, newest, now, frame);
  setText(tile.name, status?.name ?? streamId);
  tile.state.className = `state ${state}`;
  setText(tile.state, state);
  const isSending = state === 'live' || state === 'late';
  setText(tile.fps, newest ? `${rate(isSending ? newest.fps : 0)} fps` : '');
  if (frame && !tile.stored.hidden) {
    tile.stored.hidden = true;
    tile.picture.canvas.hidden = false;
  }
  if (newest) setText(tile.age, `${duration(now - (frame ?? newest).captured_at)} ago`);
  const notListed = status && !status.listed ? 'not in the list of streams' : '';
  const seen = newest && isSending ? summary((frame ?? newest).detections) : '';
  // A longer text would move the tiles below whenever thinning begins or ends.
  const reason = why === THINNED ? 'thinned' : why;
  setText(tile.seen, [seen, reason, notListed].filter((text) => text !== '').join('; '));
}
