import type { FailedBulk, FailedBulkResult, FailedEntry, FailedPage } from '../src/api.ts';
import { API, button, getJson, h, insist, rowOf, sendJson, setText, tableOf, whileDisabled } from './dom.ts';
import { addressForm, fieldsOf } from './form.ts';
import { timeOf } from './format.ts';
import type { ViewInput } from './live.ts';

/** Longest wait for a change of many records, milliseconds. */
const BULK_MS = 120_000;
const SHOWN_PROBLEMS = 5;
const FILTERS = ['stage', 'stream', 'code'] as const;

/**
 * Records that a stage could not process, with their reasons. Each can be tried again or deleted.
 * @param params filters in the address: stage, stream, code
 * @returns ends the view
 */
export function failedView(root: HTMLElement, { query: params }: ViewInput): () => void {
  const status = h('p.dim', { role: 'status' });
  const columns = ['Stage', 'Stream', 'Kind', 'Record', 'Reason', 'Since', ''];
  const { table, body } = tableOf(columns, { className: 'wrap stack', hidden: true });
  const more = button('More', { hidden: true });
  const choice = Object.fromEntries(FILTERS.map((name) => [name, params.get(name) ?? '']));
  const buttons = [
    button('Put back all of these', { onclick: () => doAll('redrive') }),
    button('Delete all of these', { onclick: () => doAll('delete') }),
  ];
  const forAll = h('div', { hidden: true }, h('p.bar', ...buttons));
  const note = 'Putting a record back sends it through its topic again, once the cause is gone.';
  root.append(h('h1', 'Failed'), h('p.dim', note), filterForm(params), forAll, status, table, h('p', more));
  const ended = new AbortController();
  const { signal } = ended;
  const tell = ({ message }: Error, more = '') => setText(status, `${message}${more}`);
  const load = async (cursor?: string) => {
    const query = new URLSearchParams({ ...choice, ...(cursor ? { cursor } : {}) });
    const ask = () => getJson<FailedPage>(`${API}/failed?${query}`, { signal });
    const page = await insist(ask, signal, (error) => tell(error, '; trying again'));
    body.append(...page.entries.map((entry) => row(entry, status)));
    table.hidden = body.childElementCount === 0;
    forAll.hidden = table.hidden;
    more.hidden = page.cursor === undefined;
    more.onclick = () => load(page.cursor).catch(tell);
    const isNarrow = Object.values(choice).some((value) => value !== '');
    const none = isNarrow ? 'No failed record matches.' : 'Nothing has failed.';
    setText(status, table.hidden ? none : '');
  };
  /** The server works on a part of the records at a time. */
  async function forEach(action: FailedBulk['action'], confirmed: boolean, until?: number) {
    const all = { count: 0, until, problems: [] as string[] };
    let cursor: string | undefined;
    do {
      setText(status, `${confirmed ? 'At work' : 'Counting'}: ${all.count}`);
      const body = { action, ...choice, confirmed, until: all.until, cursor };
      const part = await sendJson<FailedBulkResult>('POST', `${API}/failed/bulk`, body, BULK_MS);
      all.count += part.count;
      all.problems.push(...part.problems);
      ({ cursor, until: all.until } = part);
    } while (cursor && !signal.aborted);
    return all;
  }
  /** Counts the records, asks for confirmation, and then acts. */
  async function doAll(action: FailedBulk['action']): Promise<void> {
    try {
      const { count, until } = await forEach(action, false);
      const records = `${count.toLocaleString('en')} ${count === 1 ? 'record' : 'records'}`;
      const asks = action === 'redrive' ? `Put ${records} back?` : `Delete ${records} for good?`;
      setText(status, '');
      if (signal.aborted || !confirm(asks)) return;
      const done = await forEach(action, true, until);
      body.replaceChildren();
      await load();
      const what = action === 'redrive' ? 'put back' : 'deleted';
      setText(status, [`${done.count} ${what}.`, ...done.problems.slice(0, SHOWN_PROBLEMS)].join(' '));
    } catch (error) {
      tell(error as Error);
    }
  }
  load().catch(tell);
  return () => ended.abort();
}

function filterForm(params: URLSearchParams): HTMLElement {
  const { input } = fieldsOf(params);
  const text = { stage: 'Stage', stream: 'Stream', code: 'Kind' };
  const fields = FILTERS.map((name) => input(text[name], name, { placeholder: 'any' }));
  return addressForm('failed', ...fields, h('button', { type: 'submit' }, 'Filter'));
}

function row(entry: FailedEntry, status: HTMLElement): HTMLElement {
  const again = button('Put back', { ariaLabel: `Put back ${entry.position}` });
  const { stage, stream, code = '', position, bytes, reason, time } = entry;
  const record = `${position} (${bytes.toLocaleString('en')} bytes)`;
  const [by, kind] = [h('td.whole', stage), h('td.whole', code)];
  const element = rowOf(by, stream, kind, record, reason, timeOf(Date.parse(time)), again);
  const putBack = async () => {
    await sendJson('POST', `${API}/failed/redrive`, { key: entry.key });
    element.remove();
    setText(status, `${entry.position} is back on its topic.`);
  };
  again.onclick = () => whileDisabled(again, status, putBack, `${entry.position}: `);
  return element;
}
