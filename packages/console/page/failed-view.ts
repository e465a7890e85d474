import type { FailedEntry, FailedPage } from '../src/api.ts';
import { API, getJson, h, sendJson, setText } from './dom.ts';
import { timeOf } from './format.ts';

const RETRY_MS = 3_000;

/** Records that a stage could not process, each with why, and a way to try again. @returns ends the view */
export function failedView(root: HTMLElement): () => void {
  const status = h('p', { role: 'status', className: 'dim' });
  const body = h('tbody');
  const head = ['Stage', 'Record', 'Reason', 'Since', ''].map((text) => h('th', { scope: 'col' }, text));
  const table = h(
    'table',
    { className: 'wrap stack', hidden: true },
    h('thead', {}, h('tr', {}, ...head)),
    body,
  );
  const more = h('button', { type: 'button', hidden: true }, 'More');
  root.append(
    h('h1', {}, 'Failed'),
    h(
      'p',
      { className: 'dim' },
      'Putting a record back sends it through its topic again, once the cause is gone.',
    ),
    status,
    table,
    h('p', {}, more),
  );
  const load = async (cursor?: string) => {
    try {
      const query = cursor ? `?${new URLSearchParams({ cursor })}` : '';
      const page = await getJson<FailedPage>(`${API}/failed${query}`);
      body.append(...page.entries.map((entry) => row(entry, status)));
      table.hidden = body.childElementCount === 0;
      more.hidden = page.cursor === undefined;
      more.onclick = () => load(page.cursor);
      setText(status, table.hidden ? 'Nothing has failed.' : '');
    } catch (error) {
      if (isOver) return;
      setText(status, `${(error as Error).message}; trying again`);
      timer = window.setTimeout(() => load(cursor), RETRY_MS);
    }
  };
  let timer = 0;
  let isOver = false;
  load();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

function row(entry: FailedEntry, status: HTMLElement): HTMLElement {
  const again = h('button', { type: 'button', ariaLabel: `Put back ${entry.position}` }, 'Put back');
  const cells = [
    entry.stage,
    `${entry.position} (${entry.bytes.toLocaleString('en')} bytes)`,
    entry.reason,
    timeOf(Date.parse(entry.time)),
  ];
  const element = h('tr', {}, ...cells.map((cell) => h('td', {}, cell)), h('td', {}, again));
  again.onclick = async () => {
    again.disabled = true;
    try {
      await sendJson('POST', `${API}/failed/redrive`, { key: entry.key });
      element.remove();
      setText(status, `${entry.position} is back on its topic.`);
    } catch (error) {
      again.disabled = false;
      setText(status, `${entry.position}: ${(error as Error).message}`);
    }
  };
  return element;
}
