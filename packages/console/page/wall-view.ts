import type { LiveFrame } from '../src/api.ts';
import { SHOW_ALL } from './boxes.ts';
import { h, setText } from './dom.ts';
import { duration, rate, summary } from './format.ts';
import { type LiveFeed, streamState } from './live.ts';
import { Picture } from './picture.ts';

interface Tile {
  item: HTMLLIElement;
  picture: Picture;
  state: HTMLElement;
  fps: HTMLElement;
  age: HTMLElement;
  seen: HTMLElement;
}

/** Every stream, side by side. @returns ends the view */
export function wallView(root: HTMLElement, live: LiveFeed): () => void {
  const grid = h('ul', { className: 'grid' });
  const empty = h('p', { className: 'empty' }, 'No stream yet: waiting for the first frame with detections.');
  const forgotten = h('p', { className: 'dim', hidden: true });
  root.append(h('h1', {}, 'Live'), empty, grid, forgotten);
  const tiles = new Map<string, Tile>();
  const onScreen = new Set<Element>();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) onScreen.add(target);
      else onScreen.delete(target);
    }
  });

  const addTiles = () => {
    for (const { newest } of live.streams.values()) {
      if (tiles.has(newest.stream_id)) continue;
      const tile = createTile(newest);
      tiles.set(newest.stream_id, tile);
      observer.observe(tile.item);
      const after = [...tiles]
        .filter(([id]) => id > newest.stream_id)
        .sort(([a], [b]) => (a < b ? -1 : 1))[0];
      grid.insertBefore(tile.item, after?.[1].item ?? null);
    }
    empty.hidden = tiles.size > 0;
  };
  const play = () => {
    for (const [streamId, tile] of tiles) {
      const due = live.streams.get(streamId)?.playout.due(Date.now());
      if (due && onScreen.has(tile.item)) tile.picture.show(due);
    }
    frameRequest = requestAnimationFrame(play);
  };
  const tell = () => {
    for (const [streamId, tile] of tiles) {
      const newest = live.streams.get(streamId)?.newest;
      if (newest) tellTile(tile, newest, live.now());
    }
    forgotten.hidden = !live.health?.forgotten;
    setText(
      forgotten,
      `${live.health?.forgotten ?? 0} times a stream was left out that the list of streams doesn't have.`,
    );
  };
  addTiles();
  tell();
  live.addEventListener('frames', addTiles);
  let frameRequest = requestAnimationFrame(play);
  const timer = setInterval(tell, 500);
  return () => {
    live.removeEventListener('frames', addTiles);
    cancelAnimationFrame(frameRequest);
    clearInterval(timer);
    observer.disconnect();
  };
}

function createTile(frame: LiveFrame): Tile {
  const canvas = h('canvas', { role: 'img', width: 320, height: 180, ariaLabel: frame.stream_id });
  const state = h('span', { className: 'state live' });
  const fps = h('span', { className: 'num' });
  const age = h('span', { className: 'num dim' });
  const seen = h('span', { className: 'dim' });
  const link = h(
    'a',
    { className: 'card', href: `#/stream/${frame.stream_id}` },
    canvas,
    h('div', { className: 'facts' }, h('span', { className: 'name' }, frame.stream_id), state, fps, age),
    h('div', { className: 'facts' }, seen),
  );
  const item = h('li', {}, link);
  const picture = new Picture(canvas, () => SHOW_ALL, true);
  picture.show(frame);
  return { item, picture, state, fps, age, seen };
}

function tellTile(tile: Tile, newest: LiveFrame, now: number): void {
  const state = streamState(newest, now);
  tile.state.className = `state ${state}`;
  setText(tile.state, state);
  setText(tile.fps, `${rate(state === 'silent' ? 0 : newest.fps)} fps`);
  setText(tile.age, `${duration(now - (tile.picture.frame ?? newest).captured_at)} ago`);
  setText(tile.seen, summary((tile.picture.frame ?? newest).detections));
}
