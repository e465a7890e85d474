import type { Session } from '../src/api.ts';

type Child = Node | string;
type Properties = Record<string, unknown>;

/** Path of the server's API, relative to the page's own path, since a proxy may add a prefix. */
export const API = `${new URL('.', document.baseURI).pathname}api`;

export function streamPath(streamId: string): string {
  return `${API}/streams/${encodeURIComponent(streamId)}`;
}

/**
 * Creates an element, `h('p.dim', { role: 'status' }, 'text')`; the properties may be left out. Names that are not its
 * properties are set as attributes. Text is never parsed as HTML.
 */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  named: Tag | `${Tag}.${string}`,
  ...parts: Child[] | [Properties, ...Child[]]
): HTMLElementTagNameMap[Tag] {
  const [tag, ...classes] = named.split('.');
  const element = document.createElement(tag as Tag);
  element.classList.add(...classes);
  for (const part of parts) {
    if (typeof part === 'string' || part instanceof Node) element.append(part);
    else setProperties(element, part);
  }
  return element;
}

function setProperties(element: HTMLElement, properties: Properties): void {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name in element) Object.assign(element, { [name]: value });
    else element.setAttribute(name, String(value));
  }
}

/** A button that does not submit a form. */
export function button(text: string, properties: Properties = {}): HTMLButtonElement {
  return h('button', { type: 'button', ...properties }, text);
}

export function selectOf(
  options: readonly (readonly [value: string, text: string])[],
  properties: Properties = {},
): HTMLSelectElement {
  return h('select', properties, ...options.map(([value, text]) => h('option', { value }, text)));
}

/** Buttons of which one is pressed. @param choose receives the value of the button that is pressed now */
export function choiceOf<Value>(
  options: readonly (readonly [Value, string])[],
  chosen: Value,
  choose: (value: Value) => unknown,
): HTMLElement {
  const buttons = options.map(([value, text]) => {
    const element = button(text, { ariaPressed: String(value === chosen) });
    element.onclick = () => {
      for (const other of buttons) other.ariaPressed = String(other === element);
      return choose(value);
    };
    return element;
  });
  return h('div.bar', ...buttons);
}

/** Disables a button until its work is done. An error of the work is shown as the status, after `prefix`. */
export async function whileDisabled(
  control: HTMLButtonElement,
  status: Element,
  work: () => Promise<void>,
  prefix = '',
): Promise<void> {
  const hadFocus = control === document.activeElement;
  control.disabled = true;
  await work().catch(({ message }: Error) => setText(status, `${prefix}${message}`));
  control.disabled = false;
  // A disabled button loses the focus.
  if (hadFocus && document.activeElement === document.body) control.focus();
}

/** A row of a table. A child that is not a cell is put into one. */
export function rowOf(...cells: Child[]): HTMLTableRowElement {
  const isCell = (cell: Child) => cell instanceof HTMLTableCellElement;
  return h('tr', ...cells.map((cell) => (isCell(cell) ? cell : h('td', cell))));
}

/** A cell whose digits all have the same width. */
export function numbers(text: string): HTMLTableCellElement {
  return h('td.num', text);
}

export function tableOf(columns: readonly string[], properties: Properties = {}) {
  const body = h('tbody');
  const head = columns.map((text) => h('th', { scope: 'col' }, text));
  return { table: h('table', properties, h('thead', h('tr', ...head)), body), body };
}

/** Sets text only if it differs. So unchanged text is not laid out, or read aloud, again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

let outages: readonly string[] = [];

/** Notes the current outages as text. They explain requests that time out. */
export function setOutages(now: readonly string[]): void {
  outages = now;
}

/** Longest wait for an answer, milliseconds. */
export const DEADLINE_MS = 10_000;

/** The server's JSON for `path`, within `ms` ms. @throws Error with the server's message; its cause: the status */
export async function getJson<Value>(
  path: string,
  options: RequestInit = {},
  ms = DEADLINE_MS,
): Promise<Value> {
  const { signal } = options;
  const late = AbortSignal.timeout(ms);
  const response = await fetch(path, {
    ...options,
    signal: signal ? AbortSignal.any([signal, late]) : late,
  }).catch((error) => {
    if (!late.aborted) throw error;
    throw new Error(outages.join(' ') || `the console has not answered for ${ms / 1000} s`);
  });
  // The session has expired. After a reload, the same address asks for the token.
  if (response.status === 401) location.reload();
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText, { cause: response.status });
  return body;
}

/** The server's answer to a change, which is sent as JSON. @throws Error with the server's own message */
export function sendJson<Value>(
  method: 'POST' | 'DELETE',
  path: string,
  body?: unknown,
  ms = DEADLINE_MS,
): Promise<Value> {
  const headers = { 'content-type': 'application/json' };
  return getJson(path, { method, headers, body: body === undefined ? null : JSON.stringify(body) }, ms);
}

/** The pause after a fault, milliseconds. */
const RETRY_MS = 2_000;

/**
 * Asks again after each fault: of the network, the server, or S3 behind it.
 * @param ask sends a request; a refusal has its status, below 500, as the error's cause
 * @param fault called with each fault
 * @throws Error when the server refuses, and whatever `signal` aborts with
 */
export async function insist<Value>(
  ask: () => Promise<Value>,
  signal?: AbortSignal,
  fault?: (error: Error) => void,
): Promise<Value> {
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await ask();
    } catch (thrown) {
      const error = thrown as Error;
      if (signal?.aborted || Number(error.cause) < 500) throw error;
      fault?.(error);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

let session: Promise<Session> | undefined;

/** What the server says of itself. It is asked for once. */
export function sessionOf(): Promise<Session> {
  session ??= insist(() => getJson<Session>(`${API}/session`));
  return session;
}

/** Runs `task` now, and again `ms` milliseconds after each end, even if it fails. @returns stops it */
export function repeat(task: () => Promise<void> | void, ms: number): () => void {
  let timer = 0;
  let stopped = false;
  const next = async () => {
    try {
      if (!document.hidden) await task();
    } catch {
      // The line of outages shows the reason. The next round tries again.
    }
    if (!stopped) timer = window.setTimeout(next, ms);
  };
  next();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
