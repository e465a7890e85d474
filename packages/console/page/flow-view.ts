import type { Flow, StageFlow, StageSample, StageState } from '../src/api.ts';
import { sparkline } from './chart.ts';
import { API, getJson, h, repeat, setText } from './dom.ts';
import { duration, rate } from './format.ts';
import { healthTable } from './health.ts';
import type { LiveFeed } from './live.ts';

const STATES: Record<StageState, string> = {
  unknown: 'not known',
  idle: 'idle',
  ok: 'keeping up',
  behind: 'falling behind',
  stopped: 'stopped',
  away: 'does not answer',
};

interface Metric {
  text: string;
  of: (sample: StageSample) => number | null;
  tell: (sample: StageSample) => string;
}

const RATE: Metric = { text: 'Frames a second', of: ({ rate }) => rate, tell: (sample) => rate(sample.rate) };
const LAG: Metric = {
  text: 'Records waiting',
  of: ({ lag }) => lag,
  tell: ({ lag }) => (lag === null ? '-' : lag.toLocaleString('en')),
};
const LATENCY: Metric = {
  text: 'Since capture, p50 / p95',
  of: ({ latency }) => latency?.p95 ?? null,
  tell: ({ latency }) => (latency ? `${duration(latency.p50)} / ${duration(latency.p95)}` : '-'),
};

/** The pipeline as a picture, top to bottom. @returns ends the view */
export function flowView(root: HTMLElement, live: LiveFeed): () => void {
  const list = h('ol', { className: 'flow' });
  const health = healthTable();
  const tellHealth = () => health.tell(live.health);
  root.append(h('h1', {}, 'Flow'), health.element, list);
  tellHealth();
  live.addEventListener('health', tellHealth);
  let stages: Map<string, ReturnType<typeof createStage>> | undefined;
  const stop = repeat(async () => {
    const flow = await getJson<Flow>(`${API}/flow`);
    if (!stages) {
      stages = new Map(flow.stages.map((stage) => [stage.name, createStage(stage)]));
      const frames = flow.stages.filter(({ carriesFrames }) => carriesFrames);
      const others = flow.stages.filter((stage) => !frames.includes(stage));
      const items = (some: StageFlow[]) =>
        some.flatMap(({ name, reads }) => [
          ...(reads ? [pipe(`Kafka topic ${reads}`)] : []),
          stages?.get(name)?.element ?? '',
        ]);
      list.append(...items(frames), pipe(`S3 bucket ${flow.bucket}`), ...items(others));
    }
    for (const stage of flow.stages) stages.get(stage.name)?.tell(stage);
  }, 2_000);
  return () => {
    stop();
    live.removeEventListener('health', tellHealth);
  };
}

const pipe = (where: string) => h('li', { className: 'pipe dim' }, `\u2193 ${where}`);

function createStage({ name, does, reads, carriesFrames }: StageFlow): {
  element: HTMLElement;
  tell: (stage: StageFlow) => void;
} {
  const ofRecords = carriesFrames ? [RATE, LAG, LATENCY] : [{ ...RATE, text: 'Events a second' }, LAG];
  const metrics = reads ? ofRecords : [RATE];
  const charts = metrics.map((metric) => {
    const value = h('span', { className: 'value num' });
    const canvas = h('canvas', { ariaHidden: 'true' });
    return {
      metric,
      value,
      canvas,
      element: h('div', {}, h('div', { className: 'dim' }, metric.text), value, canvas),
    };
  });
  const state = h('span', {});
  const failed = h('a', { href: '#/failed', hidden: true });
  const element = h(
    'li',
    {},
    h('div', { className: 'facts' }, h('h2', { className: 'name' }, name), state, failed),
    h('div', { className: 'dim facts' }, does),
    h('div', { className: 'charts' }, ...charts.map((chart) => chart.element)),
  );
  return {
    element,
    tell(stage) {
      element.className = `card stage ${stage.state}`;
      state.className = `state ${stage.state}`;
      setText(state, STATES[stage.state]);
      failed.hidden = stage.failed === 0;
      setText(failed, `${stage.failed} failed`);
      const now = stage.samples.at(-1);
      for (const { metric, value, canvas } of charts) {
        setText(value, now ? metric.tell(now) : '-');
        sparkline(canvas, stage.samples.map(metric.of), getComputedStyle(failed).color);
      }
    },
  };
}
