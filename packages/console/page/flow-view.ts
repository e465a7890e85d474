import type { Flow, StageFlow, StageSample, StageState } from '../src/api.ts';
import { lineChart } from './chart.ts';
import { API, choiceOf, getJson, h, repeat, setText } from './dom.ts';
import { duration, rate } from './format.ts';
import { healthTable } from './health.ts';
import type { ViewInput } from './live.ts';

const STATES: Record<StageState, string> = {
  unknown: 'not known',
  idle: 'idle',
  ok: 'keeping up',
  behind: 'falling behind',
  stopped: 'stopped',
  away: 'does not answer',
};

/** Choices for the time span, minutes. The server keeps ten minutes. */
const SPANS = [2, 5, 10].map((minutes) => [minutes, `${minutes} minutes`] as const);

interface Metric {
  text: string;
  of: (sample: StageSample) => number | null;
  show: (sample: StageSample) => string;
  /** A value of the chart as text, with its unit. */
  unit: (value: number | null) => string;
}

const RATE: Metric = {
  text: 'Frames a second',
  of: ({ rate }) => rate,
  show: (sample) => rate(sample.rate),
  unit: (value) => (value === null ? '-' : `${rate(value)}/s`),
};
const LAG: Metric = {
  text: 'Records waiting',
  of: ({ lag }) => lag,
  show: ({ lag }) => (lag === null ? '-' : lag.toLocaleString('en')),
  unit: (value) => (value === null ? '-' : Math.round(value).toLocaleString('en')),
};
const LATENCY: Metric = {
  text: 'Since capture, p50 / p95',
  of: ({ latency }) => latency?.p95 ?? null,
  show: ({ latency }) => (latency ? `${duration(latency.p50)} / ${duration(latency.p95)}` : '-'),
  unit: (value) => (value === null ? '-' : duration(value)),
};

/** The pipeline as a picture, from top to bottom. @returns ends the view */
export function flowView(root: HTMLElement, { live }: ViewInput): () => void {
  const list = h('ol.flow');
  const health = healthTable();
  const showHealth = () => health.update(live.health);
  let minutes = 10;
  const spans = choiceOf(SPANS, minutes, (span) => {
    minutes = span;
    showStages();
  });
  root.append(h('h1', 'Flow'), health.element, spans, list);
  showHealth();
  live.addEventListener('health', showHealth);
  let stages: Map<string, ReturnType<typeof createStage>> | undefined;
  let now: Flow | undefined;
  const stop = repeat(async () => {
    const flow = await getJson<Flow>(`${API}/flow`);
    if (!list.isConnected) return;
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
    now = flow;
    showStages();
  }, 2_000);
  function showStages(): void {
    for (const stage of now?.stages ?? []) stages?.get(stage.name)?.update(stage, minutes);
  }
  return () => {
    stop();
    for (const stage of stages?.values() ?? []) stage.end();
    live.removeEventListener('health', showHealth);
  };
}

const pipe = (where: string) => h('li.pipe.dim', `\u2193 ${where}`);

function createStage({ name, does, reads, carriesFrames }: StageFlow) {
  const ofRecords = carriesFrames ? [RATE, LAG, LATENCY] : [{ ...RATE, text: 'Events a second' }, LAG];
  const metrics = reads ? ofRecords : [RATE];
  const charts = metrics.map((metric) => {
    const value = h('span.value.num');
    const plot = h('div', { ariaHidden: 'true' });
    const element = h('div', h('div.dim', metric.text), value, plot);
    return { metric, value, element, chart: lineChart(plot, metric.text, metric.unit) };
  });
  const state = h('span');
  const failed = h('a', { href: '#/failed', hidden: true });
  const title = h('div.facts', h('h2.name', name), state, failed);
  const plots = h('div.charts', ...charts.map((chart) => chart.element));
  const element = h('li', title, h('div.dim.facts', does), plots);
  return {
    element,
    end: () => {
      for (const { chart } of charts) chart.end();
    },
    update(stage: StageFlow, minutes: number): void {
      element.className = `card stage ${stage.state}`;
      state.className = `state ${stage.state}`;
      setText(state, STATES[stage.state]);
      failed.hidden = stage.failed === 0;
      setText(failed, `${stage.failed} failed`);
      const now = stage.samples.at(-1);
      const samples = stage.samples.filter(({ time }) => now && now.time - time <= minutes * 60_000);
      const times = samples.map(({ time }) => time);
      for (const { metric, value, chart } of charts) {
        setText(value, now ? metric.show(now) : '-');
        chart.set(times, samples.map(metric.of));
      }
    },
  };
}
