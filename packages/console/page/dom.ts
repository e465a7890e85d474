type Child = Node | string;

/** Where the server's answers are: under the path that the page is at, behind whatever proxy. */
export const API = `${new URL('.', document.baseURI).pathname}api`;

/** Where the server has what it knows of a stream. */
export function streamPath(streamId: string): string {
  return `${API}/streams/${encodeURIComponent(streamId)}`;
}

/** Creates an element. What is not a property of it is set as an attribute; text is never read as HTML. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Record<string, unknown> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name in element) Object.assign(element, { [name]: value });
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** A button that sends no form. */
export function button(text: string, properties: Record<string, unknown> = {}): HTMLButtonElement {
  return h('button', { type: 'button', ...properties }, text);
}

/** Buttons of which one is pressed. @param choose takes the value of the one that now is */
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
  return h('div', { className: 'bar' }, ...buttons);
}

/** A table of named columns, and its body. */
export function tableOf(columns: readonly string[], properties: Record<string, unknown> = {}) {
  const body = h('tbody');
  const head = columns.map((text) => h('th', { scope: 'col' }, text));
  return { table: h('table', properties, h('thead', {}, h('tr', {}, ...head)), body), body };
}

/** The address of a view with what its form says. */
export function addressOf(view: string, form: HTMLFormElement): string {
  const entries = [...new FormData(form)].filter(([, value]) => value !== '') as [string, string][];
  return `#/${view}?${new URLSearchParams(entries)}`;
}

/** Sets text only where it differs, so that what did not change is not laid out, or read aloud, again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

let outages: readonly string[] = [];

/** Tells what is away now, in words: what is not answered in time has that for a reason. */
export function noteOutages(now: readonly string[]): void {
  outages = now;
}

/** Nobody waits longer for an answer. */
export const DEADLINE_MS = 10_000;

/**
 * The JSON that the server has at `path`.
 * @param ms longest wait
 * @throws Error with the server's own words
 */
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
  // The session has ended: the same address now asks for the token.
  if (response.status === 401) location.reload();
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

/** What the server answers to a change; it takes them as JSON alone. @throws Error with the server's own words */
export function sendJson<Value>(
  method: 'POST' | 'DELETE',
  path: string,
  body?: unknown,
  ms = DEADLINE_MS,
): Promise<Value> {
  const headers = { 'content-type': 'application/json' };
  return getJson(
    path,
    { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) },
    ms,
  );
}

/** Runs `task` now and every `ms` after it has ended, failing or not. @returns stops it */
export function repeat(task: () => Promise<void> | void, ms: number): () => void {
  let timer = 0;
  let stopped = false;
  const next = async () => {
    try {
      if (!document.hidden) await task();
    } catch {
      // The line of outages says what is wrong; the next round tries again.
    }
    if (!stopped) timer = window.setTimeout(next, ms);
  };
  next();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
