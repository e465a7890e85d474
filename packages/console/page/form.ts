import type { Names } from '../src/api.ts';
import { API, getJson, h, insist, selectOf } from './dom.ts';
import { localTime, timeOfField } from './times.ts';

/** Fields of a form whose values are kept in the address. Each field starts with the value from there. */
export function fieldsOf(params: URLSearchParams) {
  const label = (text: string, input: HTMLElement) => h('label', text, input);
  const chosen = (name: string) => params.getAll(name);
  const select = (
    text: string,
    name: string,
    values: readonly (readonly [value: string, text: string])[],
  ) => {
    const field = selectOf([['', 'all'], ...values], { name });
    field.value = params.get(name) ?? '';
    return label(text, field);
  };
  const input = (text: string, name: string, properties: Record<string, string> = {}) =>
    label(text, h('input', { name, value: chosen(name).join(', '), autocomplete: 'off', ...properties }));
  const time = (text: string, name: string) => {
    const exact = params.get(name) ?? '';
    const known = Date.parse(exact);
    const value = Number.isNaN(known) ? '' : localTime(known);
    const field = h('input', { name, value, type: 'datetime-local', step: '1', autocomplete: 'off' });
    field.dataset.exact = exact;
    return label(text, field);
  };
  return {
    select,
    input,
    check(text: string, name: string, value: string) {
      const box = h('input', { type: 'checkbox', name, value, checked: params.get(name) === value });
      return h('label.check', box, ` ${text}`);
    },
    /** Fields of a time range, and the button below all fields. */
    range: (submit: string) => [
      time('From', 'from'),
      time('To', 'to'),
      h('button', { type: 'submit' }, submit),
    ],
    /** Fields for streams and classes, several separated by commas. Suggestions are loaded later. */
    names(): HTMLElement[] {
      const streams = h('datalist', { id: 'streams' });
      const classes = h('datalist', { id: 'classes' });
      const named = (text: string, name: string, list: string) => {
        const field = input(text, name, { placeholder: 'any; several by commas' });
        field.querySelector('input')?.setAttribute('list', list);
        return field;
      };
      insist(() => getJson<Names>(`${API}/names`)).then((names) => {
        streams.append(...names.streams.map((value) => h('option', { value })));
        classes.append(...names.classes.map((value) => h('option', { value })));
      }, console.warn);
      return [named('Stream', 'stream', 'streams'), named('Class', 'class', 'classes'), streams, classes];
    },
  };
}

/** The form of a view. Submitting it changes the address. Submitting the same values again repeats the query. */
export function addressForm(view: string, ...fields: (HTMLElement | string)[]): HTMLFormElement {
  const form = h('form.filters', { role: 'search' }, ...fields);
  form.onsubmit = (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      const field = form.elements.namedItem(name);
      const exact = field instanceof HTMLInputElement ? field.dataset.exact : undefined;
      const text = exact === undefined ? String(value) : timeOfField(String(value), exact);
      const values = ['stream', 'class'].includes(name) ? text.split(',') : [text];
      for (const one of values.map((text) => text.trim()).filter(Boolean)) query.append(name, one);
    }
    goTo(view, query);
  };
  return form;
}

export function goTo(view: string, query: URLSearchParams): void {
  const next = `#/${view}${query.size > 0 ? `?${query}` : ''}`;
  if (next === location.hash) dispatchEvent(new HashChangeEvent('hashchange'));
  else location.hash = next;
}

/** The address keeps times as people read them. The server expects epoch ms. */
export function queryOf(params: URLSearchParams, ...names: string[]): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of names) for (const value of params.getAll(name)) if (value) query.append(name, value);
  for (const name of ['from', 'to']) {
    const time = Date.parse(params.get(name) ?? '');
    if (!Number.isNaN(time)) query.set(name, String(time));
  }
  return query;
}
