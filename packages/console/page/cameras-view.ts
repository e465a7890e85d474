import type { CameraDraft, CameraEntry, CameraList, CameraTest } from '../src/api.ts';
import {
  API,
  button,
  getJson,
  h,
  insist,
  numbers,
  rowOf,
  selectOf,
  sendJson,
  setText,
  tableOf,
  whileDisabled,
} from './dom.ts';
import { streamState, type ViewInput } from './live.ts';

const UNWRITABLE =
  'To add and change cameras here, start the console with STREAMS_FILE, the list of the streams.';

/** Longest wait for a camera test, milliseconds. */
const TEST_MS = 20_000;

/** The cameras of the list of streams and their states: add, change, disable, remove. @returns ends the view */
export function camerasView(root: HTMLElement, { live }: ViewInput): () => void {
  const status = h('p', { role: 'status' });
  const columns = ['Camera', 'State', 'Address', 'Frames a second', ''];
  const { table, body } = tableOf(columns, { className: 'wrap stack', ariaLabel: 'Cameras', hidden: true });
  const form = cameraForm(save);
  const unwritable = h('p.dim', { hidden: true }, UNWRITABLE);
  root.append(h('h1', 'Cameras'), status, table, form.element, unwritable);
  const ended = new AbortController();
  let version: string | undefined;
  /** The element that shows each camera's state. */
  let states = new Map<string, HTMLElement>();

  function take(list: CameraList): void {
    version = list.version;
    unwritable.hidden = list.writable;
    form.element.hidden = !list.writable;
    states = new Map(list.cameras.map(({ id }) => [id, h('td')]));
    body.replaceChildren(...list.cameras.map((camera) => row(camera, list.writable)));
    table.hidden = list.cameras.length === 0;
    showStates();
  }
  function row(camera: CameraEntry, isWritable: boolean): HTMLElement {
    const { id, name, url, frame_rate, disabled } = camera;
    const act = (text: string, onclick: () => unknown) =>
      button(text, { ariaLabel: `${text} ${id}`, onclick });
    const path = `${API}/cameras/${encodeURIComponent(id)}`;
    const buttons = [
      act('Edit', () => form.open(camera)),
      act(disabled ? 'Enable' : 'Disable', () =>
        change(() => sendJson('POST', `${path}/disabled`, { disabled: !disabled }), `${id} is saved.`),
      ),
      act('Remove', () => {
        if (confirm(`Remove the camera ${id}, with its zones? What is stored of it stays.`))
          change(() => sendJson('DELETE', path), `${id} is removed.`);
      }),
    ];
    const title = h('td', h('a', { href: `#/stream/${id}` }, id), name ? ` (${name})` : '');
    const fps = numbers(frame_rate === undefined ? 'as FRAME_RATE says' : String(frame_rate));
    return rowOf(title, states.get(id) ?? '', url, fps, h('div.bar', ...(isWritable ? buttons : [])));
  }
  function showStates(): void {
    for (const [id, cell] of states) {
      const { state, why } = streamState(live.statuses?.get(id), live.streams.get(id)?.newest, live.now());
      if (cell.firstElementChild?.className !== `state ${state}`)
        cell.replaceChildren(h('span', { className: `state ${state}` }));
      if (cell.firstElementChild) setText(cell.firstElementChild, why ? `${state}: ${why}` : state);
    }
  }
  async function change(act: () => Promise<CameraList>, message: string): Promise<boolean> {
    try {
      take(await act());
      setText(status, message || (table.hidden ? 'No camera yet.' : ''));
      return true;
    } catch (error) {
      setText(status, (error as Error).message);
      return false;
    }
  }
  function save(draft: CameraDraft): Promise<boolean> {
    const known = version === undefined ? {} : { version };
    return change(() => sendJson('POST', `${API}/cameras`, { ...draft, ...known }), `${draft.id} is saved.`);
  }

  const { signal } = ended;
  const ask = () => getJson<CameraList>(`${API}/cameras`, { signal });
  change(() => insist(ask, signal, ({ message }) => setText(status, `${message}; trying again`)), '');
  const timer = setInterval(showStates, 1_000);
  live.addEventListener('streams', showStates);
  return () => {
    ended.abort();
    clearInterval(timer);
    live.removeEventListener('streams', showStates);
  };
}

/** @param save resolves to whether the camera was saved */
function cameraForm(save: (draft: CameraDraft) => Promise<boolean>) {
  const title = h('legend', 'Add a camera');
  const field = (text: string, properties: Record<string, unknown>) => {
    const input = h('input', { autocomplete: 'off', ...properties });
    return { input, label: h('label', text, input) };
  };
  const id = field('Name', { required: true, pattern: '[A-Za-z0-9][A-Za-z0-9._\\-]*', maxLength: 128 });
  const shown = field('Shown as', { maxLength: 100, placeholder: 'its name' });
  const url = field('Address', { required: true, placeholder: 'rtsp://camera/stream', maxLength: 2048 });
  const user = field('User', {});
  const password = field('Password', { type: 'password', autocomplete: 'new-password' });
  const fps = { type: 'number', min: '0.01', max: '240', step: 'any', placeholder: 'as FRAME_RATE says' };
  const rate = field('Frames a second', fps);
  const transports = ['tcp', 'udp', 'udp_multicast', 'http', 'auto'];
  const transport = selectOf(transports.map((name) => [name, name.replace('_', ' ').toUpperCase()]));
  const submit = h('button', { type: 'submit' }, 'Save camera');
  const test = button('Test');
  const found = h('p', { role: 'status' });
  const picture = h('img.test', { alt: '', hidden: true });
  const cancel = button('Clear');
  const note = h('p.dim', 'User and password are kept in the list of streams, and never shown again.');
  const fields = [id, shown, url, user, password, rate];
  const labels = [...fields.map(({ label }) => label), h('label', 'RTSP over', transport)];
  const form = h('form.filters', ...labels, submit, test, cancel);
  const element = h('fieldset', { hidden: true }, title, note, form, found, picture);
  const draft = (): CameraDraft => ({
    id: id.input.value,
    ...(shown.input.value === '' ? {} : { name: shown.input.value }),
    url: url.input.value.trim(),
    ...(user.input.value === '' ? {} : { user: user.input.value, password: password.input.value }),
    ...(rate.input.value === '' ? {} : { frame_rate: Number(rate.input.value) }),
    ...(transport.value === 'tcp' ? {} : { transport: transport.value }),
  });
  async function look(): Promise<void> {
    picture.hidden = true;
    setText(found, 'Looking at what it sends');
    const sent = await sendJson<CameraTest>('POST', `${API}/cameras/test`, draft(), TEST_MS);
    setText(found, `It sends ${inWords(sent)}.`);
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(blobOf(sent.picture));
    picture.alt = 'Its first picture';
    picture.hidden = false;
  }
  test.onclick = () =>
    url.input.reportValidity() && whileDisabled(test, found, look, 'It gives no picture: ');
  const clear = () => {
    for (const { input } of fields) input.value = '';
    transport.value = 'tcp';
    id.input.readOnly = false;
    setText(found, '');
    picture.hidden = true;
    setText(title, 'Add a camera');
  };
  cancel.onclick = clear;
  form.onsubmit = async (event) => {
    event.preventDefault();
    await whileDisabled(submit, found, async () => {
      if (await save(draft())) clear();
    });
  };
  return {
    element,
    open({ id: name, name: called = '', url: address, frame_rate, transport: over }: CameraEntry) {
      clear();
      id.input.value = name;
      // The id can't be changed, since the scene belongs to it.
      id.input.readOnly = true;
      shown.input.value = called;
      url.input.value = address;
      rate.input.value = frame_rate === undefined ? '' : String(frame_rate);
      transport.value = over ?? 'tcp';
      setText(title, `Change ${name}`);
      url.input.focus();
    },
  };
}

/** `h264, 1280x720, 25.0 frames a second, 1.8 Mbit/s` */
function inWords({ codec, width, height, fps, bits_per_second }: CameraTest): string {
  return [
    codec,
    `${width}x${height}`,
    ...(fps === undefined ? [] : [`${fps.toFixed(1)} frames a second`]),
    ...(bits_per_second === undefined ? [] : [`${(bits_per_second / 1e6).toFixed(2)} Mbit/s`]),
  ].join(', ');
}

function blobOf(base64: string): Blob {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: 'image/jpeg' });
}
