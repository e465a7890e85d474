import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { State, Summary } from '../session.ts';
import { Screen, summaryLines, tableLines } from './screen.ts';

const state: State = {
  pid: 1,
  started_at: 0,
  updated_at: 3_725_000,
  endpoints: {
    kafka: '',
    s3: '',
    inference: '',
    health: '',
    output: '/data/annotated',
    console: 'http://127.0.0.1:8080',
  },
  cameras: [],
  services: {
    detect: { state: 'restarting', restarts: 1 },
    kafka: { state: 'running', pid: 2, restarts: 0 },
    console: { state: 'running', pid: 3, restarts: 0 },
  },
  streams: {
    yard: {
      captured: 120,
      published: 118,
      thinned: 7,
      dropped: 2,
      detected: 100,
      annotated: 90,
      failed: 1,
      reconnects: 0,
      fps: 9.96,
      latency: { p50: 640, p95: 5_210, p99: 6_000 },
    },
  },
  lag: { detect: 18, annotate: 9 },
  latency_ms: { p50: 640, p95: 5_210, p99: 6_000 },
  health: {},
};
const plain = (_: unknown, text: string) => text;

describe('the status table', () => {
  it('shows each stream, the lag, where frames are stored and which parts are down', () => {
    expect(tableLines(state, plain)).toEqual([
      'stream  captured  thinned  dropped  detected  annotated  failed  waiting   fps     p50    p95',
      'yard         120        7        2       100         90       1       27  10.0  640 ms  5.2 s',
      '01:02:05  lag: detect 18, annotate 9',
      'frames: /data/annotated',
      'console: http://127.0.0.1:8080',
      'detect is down, starting it again',
    ]);
  });

  it('shows no URL of the console when it is disabled, or before it responds', () => {
    const { console: _, ...endpoints } = state.endpoints;
    expect(tableLines({ ...state, endpoints }, plain).join()).not.toContain('console');
    expect(tableLines({ ...state, services: {} }, plain).join()).not.toContain('console');
  });

  it('shows each part that does not respond, since when and why', () => {
    const since = new Date(2026, 10, 25, 9, 12, 33).getTime();
    const health = {
      s3: { ok: false, since, error: 'it has not answered in time' },
      kafka: { ok: true, since },
      detect: { ok: null, since, error: 'Kafka does not answer' },
    };
    const lines = tableLines({ ...state, health }, plain);
    expect(lines.filter((line) => line.includes('does not answer'))).toEqual([
      's3 does not answer since 09:12:33: it has not answered in time',
    ]);
  });

  it('shows the warning of a part that responds', () => {
    const health = { detect: { ok: true, since: 0, note: 'too few frames' } };
    expect(tableLines({ ...state, health }, plain).at(-1)).toBe('detect: too few frames');
  });

  it('shows that Kafka does not respond', () => {
    expect(tableLines({ ...state, lag: null }, plain).join()).toContain('Kafka does not answer');
  });
});

describe('the summary', () => {
  it('shows frames, processes and latency', () => {
    const summary: Summary = {
      frames: {
        yard: { captured: 10, published: 10, thinned: 5, dropped: 0, detected: 10, annotated: 9, failed: 1 },
        total: { captured: 10, published: 10, thinned: 5, dropped: 0, detected: 10, annotated: 9, failed: 1 },
      },
      fps: 4.5,
      latency_ms: { p50: null, p95: null, p99: null },
      processes: { model: { cpu_seconds: 1.25, peak_rss_bytes: 3 * 2 ** 20 } },
      duration_seconds: 2,
      output: '/data/annotated',
    };
    expect(summaryLines(summary)).toEqual([
      'stream  captured  published  thinned  dropped  detected  annotated  failed',
      'yard          10         10        5        0        10          9       1',
      'total         10         10        5        0        10          9       1',
      '',
      'process  CPU s  peak memory',
      'model      1.3        3 MiB',
      '',
      '4.5 frames/s over 2 s; capture to stored object: p50 -, p95 -, p99 -',
      'annotated frames: /data/annotated',
    ]);
  });
});

/** A terminal of the given width that keeps what was written. */
function terminal(columns: number) {
  const stream = new PassThrough();
  const moves: string[] = [];
  Object.assign(stream, {
    isTTY: true,
    columns,
    rows: 24,
    moveCursor: (_: number, rows: number) => moves.push(`up ${-rows}`),
    cursorTo: () => {},
    clearScreenDown: () => moves.push('clear'),
  });
  const written = () => String(stream.read() ?? '').split('\n');
  return { stream: stream as unknown as NodeJS.WriteStream, moves, written };
}

describe('the status screen', () => {
  it('updates the table in place, and prints other lines above it', () => {
    const { stream, moves, written } = terminal(200);
    const screen = new Screen(stream);
    screen.show(state);
    expect(written()).toHaveLength(7);
    screen.note('kafka is up');
    expect(moves).toEqual(['up 6', 'clear']);
    expect(written()[0]).toBe('kafka is up');
  });

  it("truncates lines to the terminal's width, without counting escape sequences", () => {
    const { stream, written } = terminal(20);
    new Screen(stream).show(state);
    const colour = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');
    for (const line of written()) expect(line.replace(colour, '').length).toBeLessThanOrEqual(20);
  });

  it('prints a line now and then without a terminal', () => {
    const stream = new PassThrough() as unknown as NodeJS.WriteStream;
    const screen = new Screen(stream);
    screen.show(state);
    screen.show(state);
    expect(String(stream.read()).split('\n')).toHaveLength(7);
  });
});
