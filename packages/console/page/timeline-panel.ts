import type { Detection } from '@video-pipeline/frame';
import type { Timeline } from '../src/api.ts';
import { drawTimeline, showTotals } from './chart.ts';
import { choiceOf, getJson, h, streamPath } from './dom.ts';
import { clock } from './format.ts';

const SPANS = [
  [15, '15 minutes'],
  [60, '1 hour'],
  [360, '6 hours'],
] as const;

export function timelinePanel(streamId: string) {
  const ids = new Map<string, number>();
  let minutes: number = SPANS[0][0];
  const chart = h('div', { role: 'img', ariaLabel: 'Detections over time' });
  const legend = h('div.bar.num');
  let shown = '';
  const spans = choiceOf<number>(SPANS, minutes, (span) => {
    minutes = span;
    return refresh();
  });
  const element = h('section', h('h2', 'Detections by class'), spans, chart, legend);

  async function refresh(): Promise<void> {
    const path = `${streamPath(streamId)}/timeline?minutes=${minutes}`;
    const timeline = await getJson<Timeline>(path);
    // An unchanged chart is not drawn again, since the pointer may be on it.
    const text = JSON.stringify([timeline, chart.clientWidth]);
    if (text === shown) return;
    shown = text;
    drawTimeline(chart, timeline, ids);
    const totals = showTotals(legend, timeline.classes, ids);
    chart.ariaLabel = `Detections since ${clock(timeline.from)}: ${totals}`;
  }
  return {
    element,
    refresh,
    addClasses(detections: readonly Detection[]): void {
      for (const { class_name, class_id } of detections) ids.set(class_name, class_id);
    },
  };
}
