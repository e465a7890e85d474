import type { Point, ShapeKind } from '@video-pipeline/scene';
import type { FrameFacts, StreamScene } from '../src/api.ts';
import { type BoxFilter, visible } from './boxes.ts';
import { button, getJson, h, insist, sendJson, setText, streamPath } from './dom.ts';
import { drawScene, drawTrails } from './scene-overlay.ts';
import { shapeEditor } from './shape-editor.ts';
import { KINDS, rulesOf, settingsOf } from './shape-form.ts';
import { Trails } from './trails.ts';

const UNWRITABLE =
  'To draw zones and lines here, start the console with STREAMS_FILE, the list of the streams.';

interface Known {
  kind: ShapeKind;
  name: string;
  points: readonly Point[];
  rules: string[];
}

/**
 * The zones, lines and trails of a stream: drawn on its picture and listed beside it. Zones and lines can be added,
 * changed and removed.
 * @param options.redraw called when the picture has to be drawn again
 * @param options.signal aborts when the page of the stream is left
 */
export function scenePanel(options: {
  streamId: string;
  canvas: HTMLCanvasElement;
  filter: BoxFilter;
  redraw: () => void;
  signal: AbortSignal;
}) {
  const { streamId, canvas, filter, redraw, signal } = options;
  const path = streamPath(streamId);
  const trails = new Trails();
  let scene: StreamScene = { zones: {}, lines: {}, rules: [], excluded: [], writable: false };
  let shown = '';
  const problem = h('p');
  const note = h('p', { role: 'status' });
  const list = h('ul.shapes');
  const unwritable = h('p.dim', { hidden: true }, UNWRITABLE);
  const editor = shapeEditor({ path, canvas, changed: redraw, saved: take });
  const drawers = {
    zone: button('Draw a zone', { onclick: () => begin('zone') }),
    line: button('Draw a line', { onclick: () => begin('line') }),
  };
  const tools = h('div', { hidden: true }, h('div.bar', ...Object.values(drawers)));
  const legend = h('legend', 'Zones and lines');
  const element = h('fieldset', legend, problem, tools, note, list, unwritable);

  function begin(kind: ShapeKind): void {
    let number = 1;
    while (`${kind}-${number}` in scene[`${kind}s`]) number += 1;
    editor.start(kind, `${kind}-${number}`, [], drawers[kind]);
  }
  function take(now: StreamScene): void {
    const text = JSON.stringify(now);
    if (text === shown) return;
    shown = text;
    scene = now;
    list.replaceChildren(...knownShapes(scene).map(item));
    setText(note, list.childElementCount === 0 ? 'None yet.' : '');
    unwritable.hidden = scene.writable;
    tools.hidden = !scene.writable;
    redraw();
  }
  function item(shape: Known): HTMLElement {
    const { kind, name, points } = shape;
    const title = h('span.name', `${kind} ${name}`);
    const rules = h('span.dim', shape.rules.join(', '));
    if (!scene.writable) return h('li', title, ' ', rules);
    const change = () => editor.start(kind, name, points, drawers[kind], settingsOf(scene, kind, name));
    const buttons = [
      button('Change', { ariaLabel: `Change ${kind} ${name}`, onclick: change }),
      button('Remove', { ariaLabel: `Remove ${kind} ${name}`, onclick: () => removeShape(shape) }),
    ];
    return h('li', title, ' ', rules, h('span.bar', ...buttons));
  }
  async function removeShape({ kind, name, rules }: Known): Promise<void> {
    const also = rules.length > 0 ? ` and its rules (${rules.join(', ')})` : '';
    if (!confirm(`Remove ${kind} ${name}${also}?`)) return;
    try {
      take(await sendJson<StreamScene>('DELETE', `${path}/${kind}s/${encodeURIComponent(name)}`));
      setText(note, `${KINDS[kind].title} ${name} is removed.`);
      // The focus moves, since the button that was pressed is gone.
      drawers.zone.focus();
    } catch (error) {
      setText(note, (error as Error).message);
    }
  }
  // Frames from before this page was opened.
  insist(() => getJson<FrameFacts[]>(`${path}/frames`, { signal }), signal).then((frames) => {
    for (const frame of frames) trails.add(frame);
  }, console.warn);

  return {
    element,
    /** The form for a zone or a line while it is drawn. It belongs right under the picture. */
    editor: editor.element,
    end: editor.end,
    addFrame: (frame: FrameFacts) => trails.add(frame),
    draw(context: CanvasRenderingContext2D, frame: FrameFacts): void {
      if (filter.zones) drawScene(context, scene);
      if (filter.tracks) drawTrails(context, trails, frame, filter);
      const feet = visible(frame.detections, filter).map(
        ({ bbox: [x1, , x2, y2] }): Point => [(x1 + x2) / 2 / frame.width, y2 / frame.height],
      );
      editor.draw(context, feet);
    },
    async refresh(): Promise<void> {
      try {
        take(await getJson<StreamScene>(`${path}/scene`));
        setText(problem, '');
      } catch (error) {
        setText(problem, (error as Error).message);
      }
    },
  };
}

function knownShapes({ zones, lines, rules }: StreamScene): Known[] {
  return [
    ...Object.entries(zones).map(([name, { polygon }]) => ({ kind: 'zone' as const, name, points: polygon })),
    ...Object.entries(lines).map(([name, { from, to }]) => ({
      kind: 'line' as const,
      name,
      points: [from, to],
    })),
  ].map((shape) => ({ ...shape, rules: rulesOf(rules, shape.kind, shape.name).map(({ name }) => name) }));
}
