import { h } from './dom.ts';

/** Number of rows beyond the window that exist already. */
const MARGIN = 6;

/**
 * A list of any length. Only the visible rows are elements.
 * @param height of each row, pixels
 * @param row makes the contents of a row
 * @param near called when the last row becomes visible
 * @param scrolled called once scrolling has ended
 */
export function virtualList<Item>(
  label: string,
  height: number,
  row: (item: Item, index: number) => HTMLElement,
  near: () => void,
  scrolled: () => void,
) {
  const list = h('ul.rows', { ariaLabel: label });
  const element = h('div.virtual', list);
  const items: Item[] = [];
  const rows = new Map<Item, HTMLElement>();

  function draw(): void {
    const first = Math.max(0, Math.floor(element.scrollTop / height) - MARGIN);
    const bottom = element.scrollTop + element.clientHeight;
    const end = Math.min(items.length, Math.ceil(bottom / height) + MARGIN);
    const wanted = new Set(items.slice(first, end));
    for (const [item, old] of rows) {
      // A row with the focus stays, even when it is scrolled out of sight.
      if (wanted.has(item) || old.contains(document.activeElement)) continue;
      old.remove();
      rows.delete(item);
    }
    list.style.height = `${items.length * height}px`;
    let before: Element | null = null;
    for (let index = end - 1; index >= first; index--) {
      const item = items[index] as Item;
      const element = rows.get(item) ?? row(item, index);
      rows.set(item, element);
      place(element, index);
      if (!element.isConnected) list.insertBefore(element, before);
      before = element;
    }
    if (end === items.length) near();
  }
  function place(element: HTMLElement, index: number): void {
    element.style.top = `${index * height}px`;
    element.style.height = `${height}px`;
    element.ariaPosInSet = String(index + 1);
  }
  element.addEventListener('scroll', () => requestAnimationFrame(draw), { passive: true });
  element.addEventListener('scrollend', scrolled);
  new ResizeObserver(draw).observe(element);
  return {
    element,
    items,
    /** Draws added and removed items; `changed`: an item whose row is drawn again. */
    refresh(changed?: Item): void {
      const old = changed && rows.get(changed);
      if (changed && old) {
        const had = old.contains(document.activeElement);
        const index = items.indexOf(changed);
        const now = row(changed, index);
        rows.set(changed, now);
        place(now, index);
        old.replaceWith(now);
        if (had) control(now)?.focus({ preventScroll: true });
      }
      draw();
    },
    /** Scrolls to a row, and focuses its first control. */
    focus(index: number): void {
      const item = items[index];
      if (!item) return;
      const [top, bottom] = [index * height, (index + 1) * height];
      if (top < element.scrollTop) element.scrollTop = top;
      else if (bottom > element.scrollTop + element.clientHeight)
        element.scrollTop = bottom - element.clientHeight;
      draw();
      control(rows.get(item))?.focus({ preventScroll: true });
    },
    /** Index of the row that has the focus; -1 if none has. */
    focused: () => items.findIndex((item) => rows.get(item)?.contains(document.activeElement)),
    /** Index of the row at the top of the window. */
    first: () => Math.floor(element.scrollTop / height),
    /** Scrolls a row to the top of the window. */
    scrollTo(index: number): void {
      list.style.height = `${items.length * height}px`;
      element.scrollTop = index * height;
      draw();
    },
  };
}

function control(row: HTMLElement | undefined): HTMLElement | null | undefined {
  return row?.querySelector<HTMLElement>('a, button');
}
