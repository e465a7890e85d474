import type { FrameFacts, StreamScene } from '../src/api.ts';
import type { BoxFilter } from './boxes.ts';
import { getJson, h, setText } from './dom.ts';
import { drawScene, drawTrails } from './scene-overlay.ts';
import { Trails } from './trails.ts';
import { zoneEditor } from './zone-editor.ts';

const UNWRITABLE = 'To draw zones here, start the console with STREAMS_FILE, the list of the streams.';

/**
 * What divides a stream's picture, and what moves over it: drawn on the picture, told beside it, and zones to draw.
 * @param options.redraw called when the picture has to be drawn again
 */
export function scenePanel(options: {
  streamId: string;
  canvas: HTMLCanvasElement;
  filter: BoxFilter;
  redraw: () => void;
}) {
  const { streamId, canvas, filter, redraw } = options;
  const path = `/api/streams/${encodeURIComponent(streamId)}`;
  const trails = new Trails();
  let scene: StreamScene = { zones: {}, lines: {}, writable: false };
  const names = h('p', {});
  const unwritable = h('p', { className: 'dim', hidden: true }, UNWRITABLE);
  const editor = zoneEditor({ streamId, canvas, scene: () => scene, changed: redraw, saved: take });
  editor.element.hidden = true;
  const element = h('fieldset', {}, h('legend', {}, 'Zones'), names, unwritable, editor.element);

  function take(now: StreamScene): void {
    const isSame = JSON.stringify(now) === JSON.stringify(scene);
    scene = now;
    const told = [...Object.keys(scene.zones), ...Object.keys(scene.lines).map((name) => `line ${name}`)];
    setText(names, told.join(', ') || 'None yet.');
    unwritable.hidden = scene.writable;
    editor.element.hidden = !scene.writable;
    if (!isSame) redraw();
  }
  // What was seen before this page was opened.
  getJson<FrameFacts[]>(`${path}/frames`).then((frames) => {
    for (const frame of frames) trails.add(frame);
  }, console.warn);

  return {
    element,
    end: editor.end,
    addFrame: (frame: FrameFacts) => trails.add(frame),
    draw(context: CanvasRenderingContext2D, frame: FrameFacts): void {
      if (filter.zones) drawScene(context, scene);
      if (filter.tracks) drawTrails(context, trails, frame, filter);
      editor.draw(context);
    },
    async refresh(): Promise<void> {
      try {
        take(await getJson<StreamScene>(`${path}/scene`));
      } catch (error) {
        setText(names, (error as Error).message);
      }
    },
  };
}
