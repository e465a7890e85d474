import { h } from './dom.ts';

/** `3.2 s`, `48 s`, `12 min`, `5 h`, `3 d` */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

/** `2026-11-25 17:05:09.3`, in the reader's time zone. Swedish dates have the form of ISO 8601. */
export function dateTime(epochMs: number): string {
  const date = new Date(epochMs);
  return `${date.toLocaleString('sv')}.${Math.floor(date.getMilliseconds() / 100)}`;
}

const ZONED = new Intl.DateTimeFormat('en', { timeZoneName: 'short' });

/** The same with the zone's name, as a `time` element. It holds the time in UTC for tooltips and programs. */
export function timeOf(epochMs: number): HTMLTimeElement {
  const iso = new Date(epochMs).toISOString();
  const zone = ZONED.formatToParts(epochMs).find(({ type }) => type === 'timeZoneName');
  return h('time.num', { dateTime: iso, title: iso }, `${dateTime(epochMs)} ${zone?.value ?? ''}`);
}

/** `17:05:09`, in the reader's time zone. */
export function clock(epochMs: number): string {
  return new Date(epochMs).toTimeString().slice(0, 8);
}

/** Sorts `gate-2` before `gate-10`. */
export const byName = new Intl.Collator('en', { numeric: true }).compare;

/** A time under a chart: `17:05`, with seconds where `step` is below 60 s, and `11-30` at midnight. */
export function tickText(epochMs: number, step: number): string {
  const time = clock(epochMs);
  return time === '00:00:00' ? dateTime(epochMs).slice(5, 10) : time.slice(0, step < 60 ? 8 : 5);
}

/** `2 person, 1 car`, the most frequent class first. */
export function summary(detections: readonly { class_name: string }[]): string {
  const counts = new Map<string, number>();
  for (const { class_name } of detections) counts.set(class_name, (counts.get(class_name) ?? 0) + 1);
  const parts = [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => `${count} ${name}`);
  return parts.join(', ') || 'nothing';
}

/** At most three significant digits: `0.4`, `12.5`, `1,250`. */
export function rate(value: number | null): string {
  if (value === null) return '-';
  return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en');
}

/** The address without the frame or event that is shown large: that part does not change the view. */
export function viewOf(hash: string): string {
  return hash.replace(/[?&](frame|event)=[^&]*/, '');
}
