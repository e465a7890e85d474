import { styleText } from 'node:util';
import { aligned } from '../command-line.ts';
import type { State, Summary } from '../session.ts';

type Style = Parameters<typeof styleText>[0];

const PLAIN_MS = 5_000;
const COUNTS = ['captured', 'thinned', 'dropped', 'detected', 'annotated', 'failed'] as const;
const HEADER = ['stream', ...COUNTS, 'waiting', 'fps', 'p50', 'p95'];

/** The output for the user: a table rewritten in place on a terminal, otherwise lines every few seconds. */
export class Screen {
  readonly #out: NodeJS.WriteStream;
  #lines: string[] = [];
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
    if (out.isTTY) out.on('resize', () => this.#redraw(this.#lines));
  }

  /** Writes a line above the table. */
  note(line: string): void {
    this.#clear();
    this.#out.write(`${line}\n`);
    this.#draw();
  }

  show(state: State): void {
    const lines = tableLines(state, (style, text) => styleText(style, text, { stream: this.#out }));
    if (this.#out.isTTY) {
      this.#redraw(lines);
    } else if (performance.now() - this.#shownAt >= PLAIN_MS) {
      this.#shownAt = performance.now();
      this.#out.write(`${lines.join('\n')}\n`);
    }
  }

  #redraw(lines: string[]): void {
    this.#clear();
    this.#lines = lines;
    this.#draw();
  }

  // A line that wraps takes more than one row. So the table is cut to the current size of the terminal.
  #draw(): void {
    const { columns = 80, rows = 24 } = this.#out;
    this.#lines = this.#lines.slice(0, Math.max(1, rows - 1));
    for (const line of this.#lines) this.#out.write(`${cut(line, columns)}\n`);
  }

  #clear(): void {
    if (this.#lines.length === 0) return;
    this.#out.moveCursor(0, -this.#lines.length);
    this.#out.cursorTo(0);
    this.#out.clearScreenDown();
  }
}

export function tableLines(state: State, paint: (style: Style, text: string) => string): string[] {
  const rows = Object.entries(state.streams).map(([id, one]) => [
    id,
    ...COUNTS.map((name) => String(one[name])),
    String(Math.max(0, one.published - one.annotated - one.failed)),
    one.fps.toFixed(1),
    duration(one.latency.p50),
    duration(one.latency.p95),
  ]);
  const [header = '', ...body] = aligned([HEADER, ...rows]);
  const services = Object.entries(state.services).filter(([, { state }]) => state === 'restarting');
  const isAsked = state.health.kafka?.ok !== null;
  const noLag = isAsked ? paint('red', 'Kafka does not answer') : 'lag: not known yet';
  const lag = state.lag ? lagLine(state.lag) : noLag;
  const { output, console: page } = state.endpoints;
  const seconds = Math.round((state.updated_at - state.started_at) / 1000);
  return [
    paint('bold', header),
    ...body,
    `${clock(seconds)}  ${lag}`,
    `frames: ${output}`,
    ...(page && state.services.console ? [`console: ${page}`] : []),
    ...services.map(([name]) => paint('red', `${name} is down, starting it again`)),
    ...outageLines(state).map((line) => paint('red', line)),
    ...Object.entries(state.health).flatMap(([name, { note }]) =>
      note ? [paint('yellow', `${name}: ${note}`)] : [],
    ),
  ];
}

/** A line for each part that does not answer: since when, and why. */
function outageLines({ health }: State): string[] {
  return Object.entries(health)
    .filter(([, { ok }]) => ok === false)
    .map(([name, { since, error }]) => `${name} does not answer since ${timeOfDay(since)}: ${error}`);
}

/** `17:05:09`, in the zone of this machine. */
export function timeOfDay(epochMs: number): string {
  return new Date(epochMs).toTimeString().slice(0, 8);
}

/**
 * `lag: detect 12, annotate 0`
 * @example
 * lagLine({ detect: 12, annotate: 0 }); // => 'lag: detect 12, annotate 0'
 */
export function lagLine(lag: Record<string, number>): string {
  return `lag: ${Object.entries(lag)
    .map(([stage, records]) => `${stage} ${records}`)
    .join(', ')}`;
}

export function summaryLines(summary: Summary): string[] {
  const { p50, p95, p99 } = summary.latency_ms;
  const frames = Object.entries(summary.frames).map(([id, one]) => [id, ...Object.values(one).map(String)]);
  const processes = Object.entries(summary.processes).map(([name, usage]) => [
    name,
    usage.cpu_seconds.toFixed(1),
    `${Math.round(usage.peak_rss_bytes / 2 ** 20)} MiB`,
  ]);
  return [
    ...aligned([['stream', ...Object.keys(summary.frames.total ?? {})], ...frames]),
    '',
    ...aligned([['process', 'CPU s', 'peak memory'], ...processes]),
    '',
    `${summary.fps} frames/s over ${summary.duration_seconds} s; capture to stored object: ` +
      `p50 ${duration(p50)}, p95 ${duration(p95)}, p99 ${duration(p99)}`,
    `annotated frames: ${summary.output}`,
    ...(summary.error ? [summary.error] : []),
  ];
}

function duration(ms: number | null): string {
  if (ms === null) return '-';
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

function clock(seconds: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** The first `columns` visible characters. Escape sequences stay whole, and do not count. */
function cut(line: string, columns: number): string {
  let seen = 0;
  let result = '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
  for (const [token] of line.matchAll(/\x1b\[[0-9;]*m|./gu)) {
    const isEscape = token.startsWith('\x1b');
    if (!isEscape && seen++ >= columns) continue;
    result += token;
  }
  return result;
}
