import type { Health, PartHealth } from '../src/api.ts';
import { h, numbers, rowOf, tableOf } from './dom.ts';
import { clock, duration } from './format.ts';

const NAMES: Record<string, string> = { s3: 'S3', model: 'The model server' };
/** How long the page shows that a part is back, milliseconds. */
const BACK_MS = 15_000;

function nameOf(part: string): string {
  return NAMES[part] ?? part.charAt(0).toUpperCase() + part.slice(1);
}

/** Parts that can't be reached, since when, and parts that are back. @param now the server's clock, epoch ms */
export function outagesOf({ parts }: Pick<Health, 'parts'>, now: number): string[] {
  return Object.entries(parts).flatMap(([part, { ok, since, error, before }]) => {
    if (ok === false) return [`${nameOf(part)} can't be reached since ${clock(since)}: ${error}`];
    const isBack = ok && before && now - since < BACK_MS;
    return isBack
      ? [`${nameOf(part)} is back since ${clock(since)}, after ${duration(since - before.since)}.`]
      : [];
  });
}

/** A table of the parts: their state, since when, and the last problem. */
export function healthTable(): { element: HTMLElement; update: (health: Health | undefined) => void } {
  const columns = ['Part', 'Health', 'Since', 'Before'];
  const { table, body } = tableOf(columns, { className: 'wrap stack', ariaLabel: 'Health' });
  let shown = '';
  return {
    element: table,
    update(health) {
      const text = JSON.stringify(health?.parts ?? {});
      if (text === shown) return;
      shown = text;
      body.replaceChildren(...Object.entries(health?.parts ?? {}).map(([name, part]) => row(name, part)));
    },
  };
}

function row(name: string, { ok, since, error, note, before }: PartHealth): HTMLElement {
  const [state, word] =
    ok === null ? ['unknown', 'not known'] : ok ? ['ok', 'answers'] : ['away', 'does not answer'];
  const was = before
    ? `away for ${duration(since - before.since)} from ${clock(before.since)}: ${before.error}`
    : '';
  const why = ok ? note : error;
  return rowOf(
    h('th', { scope: 'row' }, nameOf(name)),
    h('td', h('span', { className: `state ${state}` }, word), why ? `: ${why}` : ''),
    numbers(clock(since)),
    numbers(was),
  );
}
